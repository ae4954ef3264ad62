"""Chooses the maps in a comparison's document: of the heads that differ most, in both runs."""

from collections.abc import Iterator

import numpy as np

from attnmon.link.records.run_setup import MOST_MAP_SIDE
from attnmon_renderer.compare.map_comparison import MapComparison
from attnmon_renderer.compare.map_matching import MatchedLayer
from attnmon_renderer.inlined_answers import InlinedAnswers
from attnmon_renderer.maps.map_blocks import map_block
from attnmon_renderer.maps.maps_file import MapsFile, open_maps

MOST_BYTES = 8_000_000
"""Of maps, in both runs together, before they are packed."""


class ComparedMaps:
    """The maps of one capture of each of two runs. Raises OSError and BadMaps."""

    def __init__(self, maps: MapComparison) -> None:
        self._maps = maps
        with open_maps(maps.paths[0]) as first:
            self._chosen = _heads_that_fit(maps.layers, first)
        self.left_out = maps.heads - sum(map(len, self._chosen.values()))
        """How many heads of the first run are not shown."""

    @property
    def farthest(self) -> tuple[str, str]:
        """The layer and the head that differ most, as the page's address names them."""
        layer, head = next(_farthest_first(self._maps.layers))
        return layer.stem, str(layer.heads[head])

    def add_to(self, answers: InlinedAnswers, run: str) -> None:
        """Add the capture of run "a" or "b"."""
        which = "ab".index(run)
        chosen = [layer for layer in self._maps.layers if self._chosen[layer.stem]]
        with open_maps(self._maps.paths[which]) as maps:
            about = maps.metadata
            blocks = [
                map_block(maps, about.layers[each.stem], MOST_MAP_SIDE, self._heads(each, which))
                for each in chosen
            ]
            metadata = {"step": about.step, "epoch": about.epoch, "loss": about.loss}
            answers.add_capture(run, metadata, about.tokens, blocks)

    def _heads(self, layer: MatchedLayer, which: int) -> list[int]:
        """Return the numbers of the heads; of the second run, also of those that are matched."""
        places = self._chosen[layer.stem]
        partners = [int(layer.partners[head]) for head in places] if which else []
        return [layer.heads[place] for place in sorted({*places, *partners})]


def _farthest_first(layers: list[MatchedLayer]) -> Iterator[tuple[MatchedLayer, int]]:
    """Yield each layer with the place of a head; heads of which nothing is known come last."""
    every = [(layer, head) for layer in layers for head in range(len(layer.heads))]
    distances = [-np.nan_to_num(layer.numbered[head], nan=-1.0) for layer, head in every]
    yield from (every[place] for place in np.argsort(distances, kind="stable"))


def _heads_that_fit(layers: list[MatchedLayer], a: MapsFile) -> dict[str, list[int]]:
    """Return the places of each layer's heads: those farthest apart for which there is room."""
    left, chosen = MOST_BYTES, {layer.stem: list[int]() for layer in layers}
    for layer, head in _farthest_first(layers):
        about = a.metadata.layers[layer.stem]
        left -= 3 * about.rows * about.columns  # A's, B's of the same number, a partner
        if left < 0:
            break
        chosen[layer.stem].append(head)
    return {stem: sorted(heads) for stem, heads in chosen.items()}
