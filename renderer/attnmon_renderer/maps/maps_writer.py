"""The maps of a capture: collected layer by layer, then written as `maps.safetensors`."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention, Stack
from attnmon.link.records.run_setup import RenderOptions
from attnmon_renderer.analysis.arrays import Booleans
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.maps.codes import encode, thumbnails
from attnmon_renderer.maps.map_collector import MapCollector
from attnmon_renderer.maps.maps_header import THUMBNAIL_SIDE
from attnmon_renderer.maps.maps_metadata import FORMAT
from attnmon_renderer.sinks import safetensors
from attnmon_renderer.sinks.safetensors import Tensor
from attnmon_renderer.storage import paths
from attnmon_renderer.storage.step_folder import StepOutput

MOST_WEIGHTS = 2 * 10**9
"""Of a capture with more, evenly spaced queries are taken."""

MOST_TOKEN_BYTES = 1 << 21
"""Of the tokens in the metadata; a sample with more goes without them."""

LARGE_SIDE = 64
LARGE_THUMBNAIL_SIDE = 28
"""Of maps with more cells a side than that: so 12 × 12 heads of 128 cells take 2.6 MB."""


class CaptureMaps:
    """The maps of those layers of a capture that the options ask for."""

    def __init__(self, layers: Mapping[Attention, LayerAttention], options: RenderOptions) -> None:
        is_wanted = options.maps == "all" or (options.maps == "drawn" and bool(options.pictures))
        self._wanted = {
            attention: layer
            for attention, layer in layers.items()
            if is_wanted and 0 not in layer.shape and (attention.drawn or options.maps == "all")
        }
        weights = sum(math.prod(layer.shape) for layer in self._wanted.values())
        self._share = min(1.0, MOST_WEIGHTS / max(1, weights))
        self._side = options.maps_side
        self._tensors: list[Tensor] = []
        self._about: dict[str, str] = {}

    def __contains__(self, attention: Attention) -> bool:
        return attention in self._wanted

    def collector(self, attention: Attention) -> MapCollector | None:
        """Return what collects a layer's maps in its analysis; None if they are not wanted."""
        layer = self._wanted.get(attention)
        return None if layer is None else MapCollector(layer, self._side, self._share)

    def add(self, attention: Attention, collector: MapCollector) -> None:
        """Keep what was collected, as codes: a quarter of the memory."""
        stem = paths.stem(attention)
        self._tensors += tensors(stem, collector)
        self._about |= layer_metadata(stem, attention, collector)

    def write(self, output: StepOutput, capture: Capture) -> None:
        """Add the file to those of the step, if there are any maps. Raises OSError."""
        if self._tensors:
            about = {**metadata(capture), **self._about}
            output.put(paths.MAPS, safetensors.content(self._tensors, about))


def tensors(stem: str, collector: MapCollector) -> Iterator[Tensor]:
    """Yield the tensors of a layer."""
    codes, scale = encode(collector.values)
    yield _tensor(stem, "uint8", codes)
    yield _tensor(f"{stem}.scale", "float32", scale)
    side = THUMBNAIL_SIDE if max(codes.shape[1:]) <= LARGE_SIDE else LARGE_THUMBNAIL_SIDE
    yield _tensor(f"{stem}.thumbs", "uint8", thumbnails(codes, side))
    masked = collector.masked
    if masked.any() and not _is_causal(masked, collector):
        yield _tensor(f"{stem}.allowed", "uint8", ~masked[None])
    yield _tensor(f"{stem}.received", "float16", collector.received)
    yield _tensor(f"{stem}.strongest", "uint32", collector.strongest)


def _tensor(name: str, dtype: str, values: npt.NDArray[np.generic]) -> Tensor:
    little = np.dtype(dtype).newbyteorder("<")
    with np.errstate(all="ignore"):  # what is infinite stays so
        pieces = iter((values.astype(little).tobytes(),))
    return Tensor(name, dtype, values.shape, pieces)


def _is_causal(masked: Booleans, collector: MapCollector) -> bool:
    """Whether what is masked is just every later key, be it by a flag or by a mask."""
    return bool((masked == _future(collector)).all())


def _future(collector: MapCollector) -> Booleans:
    """[rows, columns] True where the first key of a cell is later than its last query."""
    grid = collector.grid
    rows, columns = grid.shape
    last = np.minimum(np.arange(1, rows + 1) * grid.query_step, grid.queries) - 1
    future: Booleans = np.arange(columns) * grid.key_step > last[:, None] + collector.earlier
    return future


def metadata(capture: Capture) -> dict[str, str]:
    """Return what is known of the capture, as text: the format has no other metadata."""
    known: dict[str, object] = {
        "format": FORMAT,
        "step": capture.step,
        "epoch": capture.epoch,
        "loss": capture.loss,
        "timestamp": capture.timestamp,
        "sample": capture.sample,
        "seen_in": capture.seen_in,
        "tokens": tokens_text(
            {"encoder": capture.encoder_tokens, "decoder": capture.decoder_tokens}
        ),
    }
    return {key: str(value) for key, value in known.items() if value is not None}


def tokens_text(stacks: Mapping[Stack, Sequence[str]]) -> str | None:
    """Return the tokens of each stack as text; None where none are known, or they are too many."""
    known = json.dumps({stack: tokens for stack, tokens in stacks.items() if tokens})
    return known if 2 < len(known) <= MOST_TOKEN_BYTES else None


def layer_metadata(stem: str, attention: Attention, collector: MapCollector) -> dict[str, str]:
    """Return what is known of a layer and its maps, as text."""
    grid, sampled = collector.grid, collector.sampled
    about = {
        "heads": ",".join(map(str, attention.heads)),
        "shape": ",".join(map(str, attention.shape)),
        "query_step": grid.query_step,
        "key_step": grid.key_step,
        "causal": str(_is_causal(collector.masked, collector)).lower(),
        "earlier": attention.earlier,
        "module": attention.name,
        "source": attention.source,
        "note": " · ".join(filter(None, (attention.note, _sampling_note(sampled)))),
        "sampled": sampled,
        "non_finite": int(np.count_nonzero(~np.isfinite(collector.values))) or None,
    }
    return {f"{stem}.{key}": str(value) for key, value in about.items() if value is not None}


def _sampling_note(sampled: int | None) -> str:
    return "" if sampled is None else f"of {sampled:,} evenly spaced queries"
