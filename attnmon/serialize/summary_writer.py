"""Sends what a CUDA device makes of a layer in place of its query and key, where that is enough.

At first the renderer makes the same layer of query and key too, and compares. Until it has found no
difference, and wherever kernels, pictures or the layer are not made for it, query and key are sent
as they always were.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from attnmon.accounting.error_guard import ErrorGuard, comes_from_signal_handler, describe
from attnmon.device import kernel_support
from attnmon.device.average_launch import AverageMemory
from attnmon.device.kernel_builds import BUILDS, NotBuilt
from attnmon.device.kernel_trust import KernelTrust
from attnmon.device.layer_survey import survey_layer
from attnmon.device.layer_tensors import LayerTensors
from attnmon.device.mask_facts import find_mask_bound, is_alike_for_queries, mask_facts, padding_of
from attnmon.device.summary_choice import SummaryChoice
from attnmon.device.survey_grid import SurveyGrid
from attnmon.device.survey_launch import SurveyMemory
from attnmon.layers.layer_selection import SelectedLayer
from attnmon.link.records.average_map import AverageMap, AverageTiles
from attnmon.link.records.layer_summary import LayerSummary, SummarisedHeads
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon.link.records.run_setup import RenderOptions
from attnmon.serialize.capture_builder import CaptureBuilder
from attnmon.serialize.ring_writer import RingWriter
from attnmon.serialize.sample_padding import SamplePadding

WORTH = 1
"""A summary is sent where query and key would take so many times its bytes."""


class SummaryWriter:
    """Has layers summed up on their device, and copied into the ring from there."""

    def __init__(self, writer: RingWriter, options: RenderOptions, guard: ErrorGuard) -> None:
        self.trust = KernelTrust()
        self.reasons: dict[str, str] = {}
        """Why a layer's query and key are sent, by the name of its module."""
        kernel_support.load_triton()
        self._writer = writer
        self._choice = SummaryChoice(options)
        self._guard = guard
        self._mask_failure = ""
        """Why masks cannot be read on the device; empty while they can."""
        self._waiting: set[str] = set()
        """Those whose kernels are being compiled: they may be summed up the next time."""
        self._scratch: dict[torch.device, Tensor] = {}

    def write(
        self, layer: SelectedLayer, tensors: LayerTensors, builder: CaptureBuilder
    ) -> LayerSummary | None:
        """Have a layer summed up, and start copying that into the ring; None if it is not.

        Raises what `reserve` raises. What else goes wrong costs this kernel, and is said once.
        """
        self.reasons.pop(layer.name, None)
        self._waiting.discard(layer.name)
        reason = self._choice.why_not(layer, tensors)
        if not reason and (reason := kernel_support.why_not_on(tensors.query.device)):
            self._guard.warn_once("no kernels", f"on_device: {reason}. Queries and keys are sent.")
        if not reason:
            told = replace(tensors, declared=_declared(layer, tensors, builder.padding, builder))
            try:
                return self._write_beside_training(layer, told, builder)
            except torch.cuda.OutOfMemoryError:
                reason = "its device has no memory left for it"
            except NotBuilt as error:
                reason = str(error)
                if BUILDS.failure:
                    self._warn(reason)
                else:
                    self._waiting.add(layer.name)
        self.reasons[layer.name] = reason
        return None

    def is_decided(self, name: str) -> bool:
        """Return whether this module's query and key will be sent as long as it is called alike."""
        return name in self.reasons and name not in self._waiting

    def close(self) -> None:
        """End what is compiled beside the training."""
        BUILDS.end()

    def settle(self, verdicts: list[tuple[str, str]]) -> None:
        """Take in what the renderer has found of layers that it has made too."""
        for kernel, difference in verdicts:
            self.trust.settle(kernel, difference)
            if difference:
                self._warn(
                    f"what a kernel made of a layer differs from the renderer's {difference}"
                )

    def _write_beside_training(
        self, layer: SelectedLayer, tensors: LayerTensors, builder: CaptureBuilder
    ) -> LayerSummary | None:
        device = tensors.query.device
        scratch = self._scratch_on(device)
        read = (*_read(tensors), scratch)
        with self._writer.device_copies.beside_training(device, read), BUILDS.only_built(device):
            told, grid, reason = self._prepared(layer, tensors)
            if not reason:
                return self._survey(layer, told, grid, builder, scratch)
        self.reasons[layer.name] = reason
        return None

    def _prepared(
        self, layer: SelectedLayer, tensors: LayerTensors
    ) -> tuple[LayerTensors, SurveyGrid, str]:
        """Return the layer with its padding, its grid, and why it is not summed up."""
        choice = self._choice
        sides = choice.side(layer), choice.average_side(layer)
        grid = SurveyGrid.of(tensors, *sides, window=choice.has_window(layer))
        failure = "" if tensors.bias is None else self._mask_failure
        if reason := failure or self._grid_reason(tensors, grid):
            return tensors, grid, reason
        try:
            told = _with_padding(layer, tensors)
        except NotBuilt:
            raise
        except Exception as error:
            if comes_from_signal_handler(error.__traceback__):
                raise
            self._mask_failure = f"what a mask says could not be found: {describe(error)}"
            self._warn(self._mask_failure)
            return tensors, grid, self._mask_failure
        return told, grid, self.trust.refusal(grid.kind(told))

    def _grid_reason(self, tensors: LayerTensors, grid: SurveyGrid) -> str:
        if reason := kernel_support.why_not(tensors, grid):
            return reason
        if WORTH * kernel_support.division(tensors, grid).bytes_sent(grid) > tensors.nbytes:
            return "query and key are hardly larger than what would be made of them"
        return ""

    def _survey(
        self,
        layer: SelectedLayer,
        tensors: LayerTensors,
        grid: SurveyGrid,
        builder: CaptureBuilder,
        scratch: Tensor,
    ) -> LayerSummary | None:
        kind = grid.kind(tensors)
        kernel = self.trust.name_of(kind)
        if not self.trust.is_trusted(kernel):
            if kernel in builder.compared:
                return None  # an earlier layer of this capture will show whether it can be trusted
            builder.compared.add(kernel)
        try:
            groups, average = self._launch(tensors, grid, scratch, builder)
        except NotBuilt:
            builder.compared.discard(kernel)
            raise
        except Exception as error:  # of Triton's, or of its compiler's
            if comes_from_signal_handler(error.__traceback__):
                raise
            self.trust.refuse(kind, f"its kernel failed: {describe(error)}")
            self._warn(f"a kernel failed: {describe(error)}")
            self.reasons[layer.name] = self.trust.refusal(kind)
            return None
        facts = {}
        if tensors.ends is not None and tensors.padding is not None:
            written = {"ends": tensors.ends, "padding": tensors.padding}
            facts = self._writer.write(written, builder)
        return LayerSummary(
            tensors.shape, tensors.query.shape[2], grid.query_step, grid.key_step, kernel,
            groups, knows_padding=tensors.declared is not None,
            ends=facts.get("ends"), padding=facts.get("padding"),
            is_triangle=grid.is_triangle, average=average,
        )  # fmt: skip

    def _launch(
        self, tensors: LayerTensors, grid: SurveyGrid, scratch: Tensor, builder: CaptureBuilder
    ) -> tuple[tuple[SummarisedHeads, ...], AverageMap | None]:
        """Launch the kernels, and start to copy what each leaves."""
        groups: list[SummarisedHeads] = []
        tiles: list[AverageTiles] = []
        for heads, memory in survey_layer(tensors, grid, scratch):
            blocks = self._copy(memory, builder)
            if isinstance(memory, SurveyMemory):
                groups.append(SummarisedHeads(*blocks))
            else:
                tiles.append(AverageTiles(heads, memory.first, *blocks))
        if (average := grid.average) is None:
            return tuple(groups), None
        return tuple(groups), AverageMap(average.query_step, average.key_step, tuple(tiles))

    def _scratch_on(self, device: torch.device) -> Tensor:
        """Return the device's own memory, which is used by one layer after the other.

        Of the training's stream: for another one the allocator would reserve 20 MB.
        """
        if device not in self._scratch:
            size = kernel_support.MEMORY
            self._scratch[device] = torch.empty(size, dtype=torch.uint8, device=device)
        return self._scratch[device]

    def _copy(
        self, memory: SurveyMemory | AverageMemory, builder: CaptureBuilder
    ) -> Iterator[ArrayBlock]:
        """Start copying what kernels leave, and return where each array of it will lie."""
        sent = memory.sent_bytes
        offset = builder.reserve(sent.nbytes)
        self._writer.copy_from_device(offset, sent)
        start = int(sent.storage_offset())  # an empty array has no address, but a place
        distances = (int(part.storage_offset()) * part.itemsize - start for part in memory.sent)
        names = (str(part.dtype).removeprefix("torch.") for part in memory.sent)  # as in `DTYPES`
        return (
            ArrayBlock(offset + distance, name, tuple(part.shape))
            for distance, name, part in zip(distances, names, memory.sent, strict=True)
        )

    def _warn(self, what: str) -> None:
        self._guard.warn_once(
            "device",
            f"{what}. Queries and keys are sent instead, as without on_device. Please report it, "
            "with the versions in summary.json; coverage() names the layers.",
        )


def _read(tensors: LayerTensors) -> tuple[Tensor, ...]:
    """Return what is read of a layer beside training, for whose memory this is to be known."""
    declared = tensors.declared or ()
    given = (tensors.query, tensors.key, tensors.bias, tensors.sinks, *declared)
    return tuple(tensor for tensor in given if tensor is not None)


def _with_padding(layer: SelectedLayer, tensors: LayerTensors) -> LayerTensors:
    """Return the layer with what its mask says of padding, as the renderer would find it."""
    _, queries, keys = tensors.shape
    padding = ends = None
    told = replace(tensors, bound=find_mask_bound(tensors))
    if layer.role.type == "self_attention" and told.bias is not None:
        if is_alike_for_queries(told.bias):
            shape = queries, keys, told.earlier
            padding = padding_of(told.bias, told.bound, *shape)
        else:
            padding, ends = mask_facts(told)
    return replace(told, padding=padding, ends=ends)


def _declared(
    layer: SelectedLayer, tensors: LayerTensors, padding: SamplePadding, builder: CaptureBuilder
) -> tuple[Tensor, Tensor] | None:
    """Return which queries and keys the batch says are padding; None where it tells of no keys."""
    _, queries, keys = tensors.shape
    of_encoder, of_decoder = padding.of_stacks(builder.roles)
    own = of_encoder if layer.role.stack == "encoder" else of_decoder
    others = of_encoder if layer.role.type == "cross_attention" else own
    if others is None or len(others) != keys or others.device != tensors.query.device:
        return None
    if layer.role.type == "self_attention":
        return (others[tensors.earlier :], others) if queries + tensors.earlier == keys else None
    is_known = own is not None and len(own) == queries and own.device == others.device
    return (own if is_known and own is not None else others.new_zeros(queries)), others
