"""Compares the maps of two captures that show the same text, head by head.

As they are numbered, and as they are matched: between two runs the numbers of heads mean nothing,
so each head of a layer is also set against the one that it resembles most, all pairs being chosen
together (Li et al. 2015, arXiv 1511.07543, who do so with neurons).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnmon_renderer.analysis.arrays import Doubles, Floats, Integers
from attnmon_renderer.compare.measures.assignment import assign
from attnmon_renderer.compare.measures.head_distances import (
    RowDistributions,
    all_distances,
    numbered_distances,
)
from attnmon_renderer.compare.series.run_series import LayerName
from attnmon_renderer.maps.maps_file import MapsFile
from attnmon_renderer.maps.maps_metadata import LayerMaps
from attnmon_renderer.storage import paths

MOST_TERMS = 200_000_000
"""Pairs of cells that are compared in all; of larger maps cells are merged, and said to be."""
MOST_HEADS = 256
"""Of a layer: all pairs are compared."""
FARTHEST = 1.0
"""Bits: what is taken for the distance of heads of which it is not known."""


@dataclass(frozen=True, slots=True)
class MatchedLayer:
    """The heads of one layer in two captures."""

    name: LayerName
    stem: str
    heads: tuple[int, ...]
    """Their numbers, in the order of what follows."""
    numbered: Doubles
    """[heads] Distance of each head to the one of the same number, in bits; NaN if unknown."""
    partners: Integers
    """[heads] Which head of the second capture is matched, as its place in `heads`."""
    matched: Doubles
    """[heads] Distance to that one."""
    is_bound: bool
    """Whether the distances are at least these: cells stand for several positions."""

    @property
    def moved(self) -> int:
        """The number of heads that resemble one of another number most."""
        return int((self.partners != np.arange(len(self.heads))).sum())

    def to_json(self) -> dict[str, Any]:
        numbers = zip(self.heads, self.partners, self.numbered, self.matched, strict=True)
        return {
            "role": self.name.role,
            "layer": self.name.layer,
            "at_least": self.is_bound,
            "numbered": mean(self.numbered),
            "matched": mean(self.matched),
            "heads": [
                {
                    "a": head,
                    "b": self.heads[partner],
                    "distance": _known(far),
                    "numbered": _known(by),
                }
                for head, partner, by, far in numbers
            ],
        }


def mean(values: Doubles) -> float | None:
    """Return the mean of what is known; None if nothing is."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def match_layers(
    a: MapsFile, b: MapsFile, names: Sequence[LayerName], why: list[str]
) -> list[MatchedLayer]:
    """Match the heads of these layers, of those that both have; says in `why` which differ in form.

    Raises BadMaps.
    """
    stems = _shared_stems(a, b, names, why)
    return [_match(_LayerPair(a, b, stem, MOST_TERMS // len(stems))) for stem in stems]


def movement(a: MapsFile, b: MapsFile, names: Sequence[LayerName]) -> float | None:
    """Return the mean distance of heads of the same number; None if there is none in both.

    Raises BadMaps.
    """
    stems = _shared_stems(a, b, names, [])
    pairs = (_LayerPair(a, b, stem, MOST_TERMS // len(stems)) for stem in stems)
    found = [numbered_distances(*pair.distributions) for pair in pairs]
    return mean(np.concatenate(found)) if found else None


def same_codes(a: MapsFile, b: MapsFile) -> bool:
    """Return whether two captures have the same maps to the last bit. Raises BadMaps."""
    forms = [{stem: _form(each) for stem, each in of.metadata.layers.items()} for of in (a, b)]
    return forms[0] == forms[1] and all(
        np.array_equal(a.weights(stem), b.weights(stem)) for stem in forms[0]
    )


def layer_name(stem: str) -> LayerName | None:
    """Return which layer a stem such as "decoder_layer0_cross_attn" is of."""
    parsed = paths.parse_stem(stem)
    if parsed is None:
        return None
    stack, layer, type_ = parsed
    return LayerName(paths.role(stack, type_), layer)


def _shared_stems(
    a: MapsFile, b: MapsFile, names: Sequence[LayerName], why: list[str]
) -> list[str]:
    first, second = a.metadata.layers, b.metadata.layers
    both = [stem for stem in first if stem in second and layer_name(stem) in names]
    if large := [stem for stem in both if len(first[stem].heads) > MOST_HEADS]:
        why.append(f"maps of more than {MOST_HEADS} heads are not compared: {', '.join(large[:6])}")
        both = [stem for stem in both if stem not in large]
    alike = [stem for stem in both if _form(first[stem]) == _form(second[stem])]
    if unlike := [stem for stem in both if stem not in alike]:
        why.append(f"maps of other heads, cells or queries: {', '.join(unlike[:6])}")
    return alike


def _form(layer: LayerMaps) -> tuple[Any, ...]:
    return (
        layer.heads, layer.shape, layer.rows, layer.columns, layer.query_step, layer.key_step,
        layer.sampled,
    )  # fmt: skip


class _LayerPair:
    """A layer in two captures, with so few cells that no more than `most` pairs come up."""

    def __init__(self, a: MapsFile, b: MapsFile, stem: str, most: int) -> None:
        self.layer = a.metadata.layers[stem]
        maps = a.weights(stem), b.weights(stem)
        counts = _queries_of_rows(self.layer)
        self.is_merged = self.layer.query_step > 1 or self.layer.key_step > 1
        while maps[0].size * len(maps[1]) > most and max(maps[0].shape[1:]) > 1:
            maps = _halved(maps[0], counts), _halved(maps[1], counts)
            counts = np.add.reduceat(counts, np.arange(0, len(counts), 2))
            self.is_merged = True
        self.distributions = RowDistributions(maps[0], counts), RowDistributions(maps[1], counts)


def _match(pair: _LayerPair) -> MatchedLayer:
    distances = all_distances(*pair.distributions)
    partners = assign(np.where(np.isfinite(distances), distances, FARTHEST))
    name = layer_name(pair.layer.stem)
    assert name is not None  # only stems of layers were chosen
    return MatchedLayer(
        name,
        pair.layer.stem,
        pair.layer.heads,
        np.diagonal(distances).copy(),
        partners,
        distances[np.arange(len(partners)), partners],
        pair.is_merged,
    )


def _queries_of_rows(layer: LayerMaps) -> Doubles:
    """Return [rows], how many queries each row stands for."""
    queries = layer.sampled or layer.shape[1]
    left = queries - layer.query_step * np.arange(layer.rows)
    return np.clip(left, 1, layer.query_step).astype(np.float64)


def _halved(weights: Floats, counts: Doubles) -> Floats:
    """Merge 2 × 2 cells: the mean over their queries of the sum over their keys."""
    keys = np.add.reduceat(weights, np.arange(0, weights.shape[2], 2), 2)
    rows = np.arange(0, weights.shape[1], 2)
    shares = counts / np.repeat(np.add.reduceat(counts, rows), 2)[: len(counts)]
    halved: Floats = np.add.reduceat(keys * shares[:, None], rows, 1, dtype=np.float32)
    return halved


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
