"""Merges the maps of one step: layers by pipeline stage, heads by tensor rank."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from attnmon_renderer.maps.maps_file import MapsFile, open_maps
from attnmon_renderer.maps.maps_header import BadMaps
from attnmon_renderer.maps.maps_metadata import LayerMaps
from attnmon_renderer.maps.maps_writer import tokens_text
from attnmon_renderer.model_ranks.layer_places import LocalLayer
from attnmon_renderer.model_ranks.record_merging import Key
from attnmon_renderer.storage import paths

Array = npt.NDArray[Any]


class MapMerging:
    """Merges the maps of one step after another.

    It remembers the layers that it has seen: of a stage that is silent their maps are empty.
    """

    def __init__(self, tensor_ranks: int = 1) -> None:
        self.tensor_ranks = tensor_ranks
        """How many processes share the heads of a layer."""
        self._empty: dict[str, _EmptyLayer] = {}

    def merged(
        self,
        steps: Mapping[Key, Path],
        numbers: Mapping[LocalLayer, int],
        silent: Mapping[Key, str],
    ) -> bytes | None:
        """Return the file of all maps of a step; None where there are none.

        Heads of a process that is silent are empty maps, which the metadata name as `missing`.

        Args:
            steps: the folder of the step of each process that has it.
            silent: by place, why a process has not.
        """
        with ExitStack() as stack:
            files: dict[Key, MapsFile] = {}
            for key, folder in steps.items():
                try:
                    files[key] = open_maps(folder / paths.MAPS)
                except (OSError, BadMaps):
                    continue
                stack.callback(files[key].close)
            if not files:
                return None
            return safetensors.numpy.save(*self._merged(files, numbers, silent))

    def _merged(
        self,
        files: Mapping[Key, MapsFile],
        numbers: Mapping[LocalLayer, int],
        silent: Mapping[Key, str],
    ) -> tuple[dict[str, Array], dict[str, str]]:
        tensors: dict[str, Array] = {}
        about = _about_capture(files)
        for stem, parts in _layers(files, numbers).items():
            stage = next(iter(parts))[0]
            merged = _MergedLayer({key[1]: (files[key], layer) for key, layer in parts.items()},
                                  self.tensor_ranks)  # fmt: skip
            own = {f"{stem}{suffix}": values for suffix, values in merged.tensors()}
            tensors |= own
            why = [silent.get((stage, rank), "not recorded") for rank in merged.missing]
            about |= {f"{stem}.{name}": text for name, text in merged.about(why).items()}
            forms = {name: (values.shape, values.dtype) for name, values in own.items()}
            self._empty[stem] = _EmptyLayer(stage, forms, merged.about([]))
        for stem, layer in self._empty.items():
            why = [silent.get((layer.stage, rank), "") for rank in range(self.tensor_ranks)]
            if all(why):
                tensors |= layer.tensors()
                about |= {f"{stem}.{name}": text for name, text in layer.about(why).items()}
        return tensors, about


class _EmptyLayer(NamedTuple):
    """A layer as it was last, to be shown where its stage is silent."""

    stage: int
    forms: Mapping[str, tuple[tuple[int, ...], Any]]
    """By the tensor's name, its shape and type."""
    known: Mapping[str, str]

    def tensors(self) -> dict[str, Array]:
        return {name: np.zeros(shape, kind) for name, (shape, kind) in self.forms.items()}

    def about(self, why: list[str]) -> dict[str, str]:
        note = " · ".join(f"{reason}: its heads are missing" for reason in why)
        return {**self.known, "missing": self.known["heads"], "note": note}


def _about_capture(files: Mapping[Key, MapsFile]) -> dict[str, str]:
    known = [files[key].metadata for key in sorted(files, reverse=True)]
    about: dict[str, object] = {
        "format": "attnmon-maps 1",
        "step": known[0].step,
        "epoch": next((each.epoch for each in known if each.epoch is not None), None),
        "loss": next((each.loss for each in known if each.loss is not None), None),
        "tokens": tokens_text(next((each.tokens for each in known if each.tokens), {})),
    }
    return {name: str(value) for name, value in about.items() if value is not None}


def _layers(
    files: Mapping[Key, MapsFile], numbers: Mapping[LocalLayer, int]
) -> dict[str, dict[Key, LayerMaps]]:
    """Return the parts of each layer of the whole model, by its stem there."""
    found: dict[str, dict[Key, LayerMaps]] = defaultdict(dict)
    for key in sorted(files):
        for stem, layer in files[key].metadata.layers.items():
            stack, local, type_ = paths.parse_stem(stem) or ("decoder", 0, "self_attention")
            number = numbers.get((key[0], (stack, type_), local))
            if number is not None:
                found[paths.layer_stem(stack, number, type_)][key] = layer
    return found


class _MergedLayer:
    """The maps of one layer, from those of the tensor ranks that are there."""

    def __init__(self, parts: Mapping[int, tuple[MapsFile, LayerMaps]], tensor_ranks: int) -> None:
        self._first = parts[min(parts)][1]
        size = (self._first.rows, self._first.columns)
        self._parts = {rank: part for rank, part in parts.items()
                       if (part[1].rows, part[1].columns) == size}  # fmt: skip
        self._ranks = range(tensor_ranks)
        self._heads = len(self._first.heads)
        self._local_heads = 1 + max(max(layer.heads) for _, layer in parts.values())
        self.missing = [rank for rank in self._ranks if rank not in self._parts]

    def tensors(self) -> Iterator[tuple[str, Array]]:
        """Yield the tensors by suffix."""
        yield "", self._joined(lambda file, stem: file.all_codes(stem))
        yield ".scale", self._joined(lambda file, stem: file.scale(stem))
        yield ".thumbs", self._joined(lambda file, stem: file.thumbs(stem))
        file, layer = next(iter(self._parts.values()))
        if (allowed := file.allowed(layer.stem)) is not None:
            yield ".allowed", allowed[:1].astype(np.uint8)
        if all(".received" in part.spans for _, part in self._parts.values()):
            yield ".received", self._joined(_received)
        if all(".strongest" in part.spans for _, part in self._parts.values()):
            yield ".strongest", self._joined(_strongest)

    def about(self, why: list[str]) -> dict[str, str]:
        """Return the layer's metadata. `why`: of each process that is missing."""
        layer = self._first
        notes = [layer.note, *(f"{reason}: its heads are missing" for reason in why)]
        numbers = {rank: [rank * self._local_heads + head for head in layer.heads]
                   for rank in self._ranks}  # fmt: skip
        queries, keys = layer.shape[1:]
        known: dict[str, object] = {
            "heads": ",".join(str(head) for rank in self._ranks for head in numbers[rank]),
            "missing": ",".join(str(head) for rank in self.missing for head in numbers[rank]),
            "shape": f"{self._heads * len(self._ranks)},{queries},{keys}",
            "query_step": layer.query_step,
            "key_step": layer.key_step,
            "causal": str(layer.causal).lower(),
            "earlier": layer.earlier,
            "module": layer.module,
            "source": layer.source,
            "note": " · ".join(filter(None, notes)),
            "sampled": layer.sampled,
        }
        return {name: str(value) for name, value in known.items() if value not in (None, "")}

    def _joined(self, read: Any) -> Array:
        """Return a tensor of all heads; zeros for those of a process that is missing."""
        arrays = {rank: read(file, layer.stem) for rank, (file, layer) in self._parts.items()}
        like = next(iter(arrays.values()))
        return np.concatenate([arrays.get(rank, np.zeros_like(like)) for rank in self._ranks])


def _received(file: MapsFile, stem: str) -> Array:
    found = file.received(stem)
    assert found is not None
    return found.astype(np.float16)


def _strongest(file: MapsFile, stem: str) -> Array:
    found = file.strongest(stem)
    assert found is not None
    return found
