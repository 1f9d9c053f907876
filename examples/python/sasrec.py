"""The PyTorch twin of decant's SASRec: the same network under the same tensor names, on packed sequences.

    python sasrec.py student.safetensors 17 4 256     # the ten items most likely to follow 17, 4, 256

Item ids are dense and start at 0; there is no padding row. Needs torch and safetensors.
"""
from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F


class ItemVectors(nn.Embedding):
    """Item vectors: `weight` is scored against. An export of a model that takes columns of items has `input` beside it:
    those vectors with what the columns add, which histories are looked up in."""

    def __init__(self, items: int, dim: int) -> None:
        super().__init__(items, dim)
        nn.init.normal_(self.weight, std=0.02)
        self.register_parameter('input', None)

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.weight if self.input is None else self.input)


def spans(offsets: Tensor) -> Iterator[tuple[int, int]]:
    """Begin and end of each sequence of a packed batch."""
    ends = offsets.tolist()
    return zip(ends[:-1], ends[1:])


class Block(nn.Module):
    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def attention(self, x: Tensor, offsets: Tensor) -> Tensor:
        q, k, v = self.qkv(x).view(len(x), 3, self.heads, -1).permute(1, 2, 0, 3)  # [heads, tokens, dim / heads]
        p = self.dropout if self.training else 0.0
        parts = [F.scaled_dot_product_attention(q[:, a:b], k[:, a:b], v[:, a:b], dropout_p=p, is_causal=True)
                 for a, b in spans(offsets)]
        return self.out(torch.cat(parts, 1).transpose(0, 1).reshape(x.shape))

    def forward(self, x: Tensor, offsets: Tensor) -> Tensor:
        x = x + F.dropout(self.attention(self.norm1(x), offsets), self.dropout, self.training)
        return x + F.dropout(self.down(F.gelu(self.up(self.norm2(x)))), self.dropout, self.training)


class SASRec(nn.Module):
    """ids [tokens] int64, offsets [sequences + 1] int64 -> hidden [tokens, dim]; scores are hidden @ item.weight.T."""

    def __init__(self, items: int, dim: int, layers: int, heads: int, max_length: int, dropout: float = 0.0) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f'dim {dim} is not a multiple of heads {heads}')
        self.heads, self.dropout = heads, dropout
        self.item, self.position = ItemVectors(items, dim), nn.Embedding(max_length, dim)
        nn.init.normal_(self.position.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(dim, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, ids: Tensor, offsets: Tensor) -> Tensor:
        lengths = offsets.diff()
        if lengths.max() > self.position.num_embeddings:
            raise ValueError(f'a sequence of {int(lengths.max())} items; max_length is {self.position.num_embeddings}')
        positions = torch.arange(len(ids), device=ids.device) - offsets[:-1].repeat_interleave(lengths)
        x = F.dropout(self.item(ids) + self.position(positions), self.dropout, self.training)
        for block in self.blocks:
            x = block(x, offsets)
        return self.norm(x)

    def spec(self) -> dict[str, str]:
        (items, dim), max_length = self.item.weight.shape, self.position.num_embeddings
        return {'model': 'sasrec', 'items': str(items), 'dim': str(dim), 'layers': str(len(self.blocks)),
                'heads': str(self.heads), 'max_length': str(max_length)}


def save(model: SASRec, path: Path | str) -> None:
    save_file({name: tensor.detach().float().contiguous() for name, tensor in model.state_dict().items()}, path,
              metadata=model.spec())


def load(path: Path | str, heads: int | None = None) -> SASRec:
    """Reads what decant or save() wrote. All sizes but the number of heads follow from the shapes."""
    with safe_open(path, 'pt') as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    if columns := [name for name in tensors if name.startswith('columns.')]:
        raise ValueError(f'{path} has inputs beside items ({columns[0]}): take the export of a model with columns of items only')
    if metadata.get('model', 'sasrec') != 'sasrec':
        raise ValueError(f'{path} holds a model of kind {metadata["model"]}')
    if heads is None and 'heads' not in metadata:
        raise ValueError(f'{path} does not say its number of heads; give it')
    (items, dim), max_length = tensors['item.weight'].shape, len(tensors['position.weight'])
    layers = len({name.split('.')[1] for name in tensors if name.startswith('blocks.')})
    model = SASRec(items, dim, layers, heads or int(metadata['heads']), max_length)
    if 'item.input' in tensors:
        model.item.input = nn.Parameter(torch.empty_like(tensors['item.input']))
    model.load_state_dict(tensors)
    return model.eval()


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Recommend the next item.')
    parser.add_argument('weights', type=Path)
    parser.add_argument('history', type=int, nargs='+', help='item ids, the oldest first')
    parser.add_argument('--heads', type=int, help='for files that do not say')
    arguments = parser.parse_args()

    model = load(arguments.weights, arguments.heads)
    history = torch.tensor(arguments.history[-model.position.num_embeddings:])
    with torch.no_grad():
        scores = model(history, torch.tensor([0, len(history)]))[-1] @ model.item.weight.T
    print(*(f'{item}\t{scores[item]:.4f}' for item in scores.topk(min(10, len(scores))).indices.tolist()), sep='\n')
