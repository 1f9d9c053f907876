"""A PyTorch model as a teacher: writes a TorchScript file, what `teacher.model: {type: torchscript, file: ...}` takes.

    python script_teacher.py teacher.safetensors teacher.pt    # of decant's own SASRec, as an example

A model of your own needs what `Teacher` has: forward(items, lengths) -> hidden, and item_table(). Needs torch and safetensors.
"""
import sys

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import sasrec


class Block(nn.Module):
    """As sasrec.Block, on padded windows."""

    def __init__(self, block: sasrec.Block) -> None:
        super().__init__()
        self.heads = block.heads
        self.norm1, self.norm2, self.qkv, self.out = block.norm1, block.norm2, block.qkv, block.out
        self.up, self.down = block.up, block.down

    def forward(self, x: Tensor) -> Tensor:
        batch, length, dim = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, length, dim))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Teacher(nn.Module):
    """Items are numbered from 0 as in the dataset; windows are padded on the right with 0, which causal attention
    never sees. The logit of an item is the product of its row of item_table() and the hidden state."""

    def __init__(self, model: sasrec.SASRec) -> None:
        super().__init__()
        self.item, self.position, self.norm = model.item, model.position, model.norm
        self.blocks = nn.ModuleList(Block(block) for block in model.blocks)

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        x = self.item(items) + self.position.weight[:items.size(1)]
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    @torch.jit.export
    def item_table(self) -> Tensor:
        return self.item.weight


def save(weights, file) -> None:
    torch.jit.script(Teacher(sasrec.load(weights)).eval()).save(str(file))


if __name__ == '__main__':
    save(sys.argv[1], sys.argv[2])
