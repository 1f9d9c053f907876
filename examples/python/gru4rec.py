"""The PyTorch twin of decant's GRU4Rec: the same network under the same tensor names, on packed sequences.

    python gru4rec.py student.safetensors 17 4 256     # the ten items most likely to follow 17, 4, 256

Item ids are dense and start at 0; there is no padding row. Needs torch and safetensors.
"""
from __future__ import annotations

import argparse
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


class GRU4Rec(nn.Module):
    """ids [tokens] int64, offsets [sequences + 1] int64 -> hidden [tokens, dim]; scores are hidden @ item.weight.T."""

    def __init__(self, items: int, dim: int, hidden: int, layers: int, max_length: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout, self.max_length = dropout, max_length
        self.item = ItemVectors(items, dim)
        self.layers = nn.ModuleList(nn.GRUCell(hidden if i else dim, hidden) for i in range(layers))
        if hidden != dim:
            self.out = nn.Linear(hidden, dim)

    def states(self, layer: nn.GRUCell, x: Tensor) -> Tensor:
        """x [length, inputs] of one sequence -> [length, hidden]."""
        state, states = x.new_zeros(layer.hidden_size), []
        for row in x:
            state = layer(row, state)
            states.append(state)
        return torch.stack(states)

    def forward(self, ids: Tensor, offsets: Tensor) -> Tensor:
        lengths = offsets.diff()
        if lengths.max() > self.max_length:
            raise ValueError(f'a sequence of {int(lengths.max())} items; max_length is {self.max_length}')
        x = F.dropout(self.item(ids), self.dropout, self.training)
        for layer in self.layers:
            x = torch.cat([self.states(layer, part) for part in x.split(lengths.tolist()) if len(part)])
            x = F.dropout(x, self.dropout, self.training)
        return self.out(x) if hasattr(self, 'out') else x

    def spec(self) -> dict[str, str]:
        items, dim = self.item.weight.shape
        return {'model': 'gru4rec', 'items': str(items), 'dim': str(dim), 'hidden': str(self.layers[0].hidden_size),
                'layers': str(len(self.layers)), 'max_length': str(self.max_length)}


def save(model: GRU4Rec, path: Path | str) -> None:
    save_file({name: tensor.detach().float().contiguous() for name, tensor in model.state_dict().items()}, path,
              metadata=model.spec())


def load(path: Path | str) -> GRU4Rec:
    """Reads what decant or save() wrote."""
    with safe_open(path, 'pt') as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    if columns := [name for name in tensors if name.startswith('columns.')]:
        raise ValueError(f'{path} has inputs beside items ({columns[0]}): take the export of a model with columns of items only')
    if metadata.get('model') != 'gru4rec':
        raise ValueError(f'{path} holds a model of kind {metadata.get("model", "unknown")}')
    model = GRU4Rec(*(int(metadata[size]) for size in ('items', 'dim', 'hidden', 'layers', 'max_length')))
    if 'item.input' in tensors:
        model.item.input = nn.Parameter(torch.empty_like(tensors['item.input']))
    model.load_state_dict(tensors)
    return model.eval()


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Recommend the next item.')
    parser.add_argument('weights', type=Path)
    parser.add_argument('history', type=int, nargs='+', help='item ids, the oldest first')
    arguments = parser.parse_args()

    model = load(arguments.weights)
    history = torch.tensor(arguments.history[-model.max_length:])
    with torch.no_grad():
        scores = model(history, torch.tensor([0, len(history)]))[-1] @ model.item.weight.T
    print(*(f'{item}\t{scores[item]:.4f}' for item in scores.topk(min(10, len(scores))).indices.tolist()), sep='\n')
