"""Attention between the nodes of graphs, in torch_geometric."""

import importlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from scanlib.architecture import Architecture, Built, prepared

SIZES, WIDTH = (5, 7, 4), 16
"""Nodes of the three graphs of a batch."""


class Layers(nn.Module):
    """Two layers and a head; each is called as its kind is."""

    def __init__(self, kind: str, make: Any) -> None:
        super().__init__()
        self.kind = kind
        self.layers = nn.ModuleList(make() for _ in range(2))
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor, edges: Tensor, batch: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, edges) if self.kind == "convolution" else layer(x, edges, batch)
        scores: Tensor = self.head(x)
        return scores


class Pooled(nn.Module):
    """One layer that makes a vector of each graph."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.embedding, self.pool = nn.Linear(WIDTH, WIDTH), make()
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor, edges: Tensor, batch: Tensor) -> Tensor:
        pooled = self.pool(self.embedding(x), batch)
        scores: Tensor = self.head(pooled)
        return scores


def architectures() -> Iterator[Architecture]:
    """Yields each kind of attention between nodes."""
    graphs: Any = importlib.import_module("torch_geometric.nn")
    heads = {"heads": 2, "concat": False}
    convolutions = {
        "GATConv": lambda: graphs.GATConv(WIDTH, WIDTH, **heads),
        "GATv2Conv": lambda: graphs.GATv2Conv(WIDTH, WIDTH, **heads),
        "TransformerConv": lambda: graphs.TransformerConv(WIDTH, WIDTH, **heads),
        "SuperGATConv": lambda: graphs.SuperGATConv(WIDTH, WIDTH, **heads),
        "AGNNConv": lambda: graphs.AGNNConv(),
    }
    for name, make in convolutions.items():
        yield Architecture(
            f"torch_geometric/{name}",
            partial(_built, lambda make=make: Layers("convolution", make)),
        )
    for attention in ("multihead", "performer"):
        make = partial(graphs.GPSConv, WIDTH, None, heads=2, attn_type=attention)
        yield Architecture(
            f"torch_geometric/GPSConv {attention}", partial(_built, partial(Layers, "global", make))
        )
    for name in ("SGFormer", "Polynormer"):
        model = partial(getattr(graphs, name), WIDTH, WIDTH, 3)
        yield Architecture(f"torch_geometric/{name}", partial(_built, model))
    pools = {
        "SetTransformerAggregation": partial(graphs.SetTransformerAggregation, WIDTH, 1, heads=2),
        "GraphMultisetTransformer": partial(graphs.GraphMultisetTransformer, WIDTH, k=3, heads=2),
        "AttentionalAggregation": lambda: graphs.AttentionalAggregation(nn.Linear(WIDTH, 1)),
    }
    for name, pool in pools.items():
        yield Architecture(f"torch_geometric/{name}", partial(_built, partial(Pooled, pool)))


def _built(make: Any) -> Built:
    torch.manual_seed(0)
    graphs = [_graph(size) for size in SIZES]
    return prepared(make(), _joined(graphs), lambda sample: _joined(graphs[sample : sample + 1]))


def _graph(size: int) -> tuple[Tensor, Tensor]:
    """Returns nodes, and edges in both directions around a circle."""
    start, end = torch.arange(size), torch.arange(1, size + 1) % size
    return torch.randn(size, WIDTH), torch.stack([torch.cat([start, end]), torch.cat([end, start])])


def _joined(graphs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Returns graphs as one, as the library does: nodes, edges, and the graph of each node."""
    nodes = [nodes for nodes, _ in graphs]
    before = [sum(len(each) for each in nodes[:at]) for at in range(len(nodes))]
    edges = [edges + offset for (_, edges), offset in zip(graphs, before, strict=True)]
    batch = [torch.full((len(each),), at) for at, each in enumerate(nodes)]
    return torch.cat(nodes), torch.cat(edges, 1), torch.cat(batch)
