"""Layers that are sent by their summary: what the renderer makes of it, and when it is not sent."""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from support.collecting import any_call
from support.models import LanguageModel, batch
from support.outputs import history
from support.summarising import SELF, Device
from support.surveyed import exact_logits_of_cells
from support.surveyed_layers import pretend_device
from support.training_process import wait_for
from torch import Tensor

from attnmon import TrainingAttentionMonitor
from attnmon.capture import AttentionCall
from attnmon.device import layer_survey
from attnmon.device.average_launch import divide
from attnmon.device.kernel_support import division
from attnmon.device.layer_tensors import LayerTensors
from attnmon.device.mask_facts import padding_of
from attnmon.device.survey_grid import SurveyGrid
from attnmon.layers.layer_numbering import parse_role
from attnmon.layers.layer_selection import SelectedLayer
from attnmon.link.messages import Capture
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon.link.records.run_setup import RenderOptions
from attnmon.link.records.sample_image import PatchedLayer, SampleImage
from attnmon.link.summaries.picture_sides import AVERAGE_SIDES, HEAD_SIDES
from attnmon.serialize import summary_writer
from attnmon.serialize.serializer import CaptureSerializer
from attnmon_renderer.analysis.layer_analysis import analyze_layer
from attnmon_renderer.analysis.masks import Mask
from attnmon_renderer.analysis.patch_rows import with_patch_rows
from attnmon_renderer.analysis.pooling_grid import PoolingGrid
from attnmon_renderer.figures.figure_kinds import ANIMATION_SIDE, FIGURE_KINDS, LARGE_SIDE
from attnmon_renderer.maps.maps_writer import CaptureMaps
from attnmon_renderer.summaries.device_comparison import difference
from attnmon_renderer.summaries.device_summary import DeviceSummary
from attnmon_renderer.summaries.top_logits import top_logits
from attnmon_renderer.worker import analyze_all

pytest.importorskip("triton", reason="Triton has no wheel for this machine")

CROSS = SelectedLayer("blocks.0", parse_role("decoder_cross"), 0, (0, 1))
MAPS = RenderOptions(("heatmap",), maps="all", maps_side=8)


@pytest.fixture
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    pretend_device(monkeypatch)
    made = Device(getattr(request, "param", MAPS))
    yield made
    made.close()


def called(queries: int = 20, keys: int | None = None, **how: Any) -> AttentionCall:
    torch.manual_seed(queries)
    query, key = torch.randn(2, queries, 16) * 2, torch.randn(2, keys or queries, 16)
    fields = {"causal": False, "scale": 0.25, "query": query, "key": key, **how}
    return any_call("blocks.0", **fields)


def window(length: int, back: int) -> Tensor:
    distance = torch.arange(length)[:, None] - torch.arange(length)
    return (distance >= 0) & (distance < back)


def padded_left(length: int, padding: int) -> Tensor:
    mask = torch.ones(length, length).tril()
    mask[:, :padding], mask[:padding] = 0, 1
    return torch.where(mask > 0, 0.0, -1e4)


CALLS = {
    "causal": (SELF, called(causal=True)),
    "not causal": (SELF, called()),
    "softcap": (SELF, called(causal=True, softcap=2.0)),
    "sinks": (SELF, called(causal=True, sinks=torch.tensor([1.0, -1.0]))),
    "padding": (SELF, called(bias=(torch.arange(20) < 15)[None, None], causal=True)),
    "window": (SELF, called(bias=window(20, 6))),
    "padded left": (SELF, called(bias=padded_left(20, 4))),
    "cross": (CROSS, called(20, 31)),
    "masked cross": (CROSS, called(20, 31, bias=torch.ones(20, 31).bernoulli(0.7).bool())),
    "biased cross": (CROSS, called(20, 31, bias=torch.randn(2, 20, 31))),
}


@pytest.mark.parametrize("name", CALLS)
def test_statistics_and_maps_are_those_of_query_and_key(device: Device, name: str) -> None:
    layer, call = CALLS[name]
    attention = device.write(call, layer)
    assert attention.summary is not None
    assert attention.query is not None
    read = device.read(attention)
    assert difference(read, read.memory) == ""


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("part", "value"), [("query", math.nan), ("key", math.nan), ("query", math.inf)]
)
def test_where_numbers_are_not_finite_the_same_ones_are_unknown(
    device: Device, part: str, value: float, causal: bool
) -> None:
    call = called(causal=causal)
    getattr(call, part)[0, 7, 3] = value
    read = device.read(device.write(call))
    found = DeviceSummary(read, read.memory).analysis(None, 8)
    exact = analyze_layer(read, head_side=8, statistics_queries="all")
    for name, expected in exact.statistics.heads.items():
        values = found.statistics.heads[name]
        assert values == pytest.approx(expected, rel=1e-4, abs=1e-5, nan_ok=True), name
    for name in ("mean", "std", "min", "max", "future_mass"):
        one, other = (getattr(each.statistics, name) for each in (found, exact))
        assert one == pytest.approx(other, rel=1e-4, abs=1e-5, nan_ok=True), name
    assert found.per_head is not None
    assert exact.per_head is not None
    assert (found.per_head.masked == exact.per_head.masked).all()
    shown = ~exact.per_head.masked
    unknown = [np.isnan(each.per_head.values) & shown for each in (found, exact)]
    assert (unknown[0] == unknown[1]).all()
    assert unknown[0].any()


@pytest.mark.parametrize("name", ["causal", "sinks", "padding", "masked cross"])
def test_the_largest_logits_of_query_and_key_are_those_of_float64(
    device: Device, name: str
) -> None:
    layer, call = CALLS[name]
    read = device.read(device.write(call, layer))
    _, queries, keys = read.shape
    grid = PoolingGrid.of_side(queries, keys, 8)
    bias = None if call.bias is None else call.bias.reshape(-1, keys)
    tensors = LayerTensors(
        call.query, call.key, call.scale, call.causal, bias=bias, sinks=call.sinks,
        padding=None if read.padding is None else torch.from_numpy(read.padding),
    )  # fmt: skip
    found = top_logits(read, grid, np.arange(grid.shape[0]))
    exact = exact_logits_of_cells(tensors, 8).numpy()
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)


DEFAULTS = RenderOptions(("heatmap", "statistics"), maps="drawn")


@pytest.mark.parametrize("device", [DEFAULTS], indirect=True)
def test_default_settings_draw_each_of_256_positions(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary_writer, "WORTH", 1)
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 2, 256, 64, generator=generator).half()
    read = device.read(device.write(called(query=query, key=key, causal=True)))
    found = DeviceSummary(read, read.memory).analysis(LARGE_SIDE, None).average
    assert found is not None
    future = torch.ones(256, 256).triu(1).bool()
    logits = query.double() @ key.double().mT * 0.25
    weights = logits.masked_fill(future, -math.inf).softmax(-1).mean(0).numpy()
    one, other = (np.round(255 * np.sqrt(each / weights.max())) for each in (found.values, weights))
    assert np.abs(one - other).max() <= 1
    assert (found.masked == future.numpy()).all()
    assert device.summaries.reasons == {}


OVER_IMAGE = RenderOptions(("image_overlay", "heatmap"), maps="all", maps_side=8)


@pytest.mark.parametrize("device", [OVER_IMAGE], indirect=True)
@pytest.mark.parametrize(("earlier", "has_class"), [(1, True), (5, True), (0, False), (4, False)])
def test_what_a_layer_looks_at_in_an_image_is_as_in_float64(
    device: Device, earlier: int, has_class: bool
) -> None:
    call = called()
    both = device.write(call)
    read = device.read(both)
    assert difference(read, read.memory) == ""
    assert both.summary is not None
    device.summaries.settle([(both.summary.kernel, "")])
    device.next_capture()
    alone = device.read(device.write(call))
    assert alone.attention.query is None
    weights = (call.query.double() @ call.key.double().mT * 0.25).softmax(-1)
    patches = PatchedLayer("decoder", 0, "self_attention", 1, 20 - earlier, earlier, has_class)
    expected = weights[:, 0] if has_class else weights[:, earlier:].mean(1)
    image = SampleImage(ArrayBlock(0, "uint8", (4, 4, 3)), False, (patches,))
    layers = {alone.attention: alone}
    found = analyze_all(layers, OVER_IMAGE, CaptureMaps(layers, OVER_IMAGE), image)
    rows = with_patch_rows(found, layers, image)[alone.attention].patch_rows
    np.testing.assert_allclose(rows, expected.numpy(), rtol=1e-5, atol=1e-7)
    too_many = replace(patches, earlier=9, has_class=False, columns=11)
    assert DeviceSummary(read, read.memory).patch_rows(too_many) is None


@pytest.mark.parametrize(
    "device",
    [RenderOptions((), maps=None), RenderOptions(("heatmap",), maps=None)],
    indirect=True,
)
def test_without_stored_maps_there_is_none_of_heads(device: Device) -> None:
    attention = device.write(called(causal=True))
    assert attention.summary is not None
    assert not attention.summary.has_map
    read = device.read(attention)
    assert difference(read, read.memory) == ""


def test_once_it_was_found_right_a_layer_leaves_without_query_and_key(device: Device) -> None:
    first = device.write(called(causal=True))
    again = device.write(called(causal=True))
    assert first.summary is not None
    assert again.summary is None, "one layer of a capture is made both ways"
    device.summaries.settle([(first.summary.kernel, "")])
    device.next_capture()
    alone = device.write(called(causal=True))
    assert (alone.query, alone.key, alone.weights) == (None, None, None)
    both, one = device.read(first), device.read(alone)
    expected = DeviceSummary(both, both.memory).statistics()
    assert DeviceSummary(one, one.memory).statistics() == expected
    assert device.summaries.reasons == {}


@pytest.mark.parametrize(
    ("array", "part", "place"),
    [("rows", 7, "diagonal of head 0"), ("logits", 0, "the lse of head 0")],
)
def test_a_kernel_that_differs_is_not_used_again_and_that_is_said(
    device: Device, monkeypatch: pytest.MonkeyPatch, array: str, part: int, place: str
) -> None:
    right = layer_survey.launch

    def wrong(layer: LayerTensors, grid: SurveyGrid, memory: Any) -> None:
        right(layer, grid, memory)
        values = getattr(memory, array)
        values.select(2 if array == "rows" else 1, part).mul_(1.01)

    monkeypatch.setattr(layer_survey, "launch", wrong)
    attention = device.write(called(causal=True))
    assert attention.summary is not None
    read = device.read(attention)
    found = difference(read, read.memory)
    assert found is not None
    assert found.startswith(f"in {place}")
    device.summaries.settle([(attention.summary.kernel, found)])
    device.next_capture()
    again = device.write(called(causal=True))
    assert again.summary is None
    assert again.query is not None
    assert device.summaries.reasons["blocks.0"].startswith(f"in {place}")
    (warning,) = device.guard.remarks.warnings
    assert f"differs from the renderer's in {place}" in warning


@pytest.mark.parametrize(
    ("options", "call", "reason"),
    [
        (RenderOptions(("multi_head",), maps="all", maps_side=8), called(), "larger than the maps"),
        (RenderOptions(("heatmap",), pooling="max"), called(), "largest weight"),
        (RenderOptions((), raw_weights=True), called(), "all its weights"),
        (OVER_IMAGE, called(bias=window(20, 6)), "some are masked"),
    ],
)
def test_what_a_summary_would_not_tell_is_sent_as_query_and_key(
    monkeypatch: pytest.MonkeyPatch, options: RenderOptions, call: Any, reason: str
) -> None:
    pretend_device(monkeypatch)
    device = Device(options)
    try:
        attention = device.write(call)
        assert attention.summary is None
        assert attention.query is not None
        assert reason in device.summaries.reasons["blocks.0"]
    finally:
        device.close()


def layer_of(
    heads: int, positions: int, width: int, *, key_heads: int = 0, causal: bool = True
) -> LayerTensors:
    query, key = (
        torch.empty(each, positions, width, dtype=torch.bfloat16, device="meta")
        for each in (heads, key_heads or heads)
    )
    return LayerTensors(query, key, 1.0, causal=causal)


@pytest.mark.parametrize(
    ("layer", "sides", "share"),
    [
        (layer_of(32, 8192, 128), (128, 1024), 100),
        (layer_of(32, 8192, 128), (128, None), 150),
        (layer_of(32, 8192, 128), (None, None), 800),
        (layer_of(32, 8192, 128, causal=False), (128, None), 100),
        (layer_of(32, 8192, 128, causal=False), (128, 1024), 50),
        (layer_of(32, 32768, 128), (128, 1024), 100),
        *((layer_of(12, positions, 64), (128, 1024), 2) for positions in (256, 512, 1024)),
        *((layer_of(12, length, 64, causal=False), (128, 1024), 1) for length in (256, 512, 1024)),
    ],
)
def test_a_long_layer_leaves_in_a_hundredth_of_its_query_and_key(
    layer: LayerTensors, sides: tuple[int | None, int | None], share: int
) -> None:
    """With the maps to be stored and the picture that default settings draw."""
    grid = SurveyGrid.of(layer, *sides)
    assert share * division(layer, grid).bytes_sent(grid) <= layer.nbytes


@pytest.mark.parametrize("side", [None, 1024])
@pytest.mark.parametrize(
    "layer",
    [
        layer_of(32, 8192, 128),
        layer_of(32, 8192, 128, key_heads=8, causal=False),
        layer_of(12, 1024, 64, causal=False),
        layer_of(7, 32768, 128),
        layer_of(1, 1, 16),
    ],
)
def test_a_layer_is_divided_to_fit_the_memory(layer: LayerTensors, side: int | None) -> None:
    grid = SurveyGrid.of(layer, 128, side)
    found, group = division(layer, grid), layer.shape[0] // len(layer.key)
    assert found.at_once > 0
    assert found.at_once % group == found.averaged % group == 0
    assert side is not None or found.at_once == found.averaged
    taken = found.averaged * grid.lse_bytes
    taken += found.at_once * (grid.received_bytes + grid.bytes_sent)
    assert taken <= 1_900_000
    lse, rest = found.parts(torch.empty(1_900_000, dtype=torch.uint8), grid, found.averaged)
    assert lse.shape == (found.averaged, layer.shape[1])
    if grid.average is not None:
        parts = list(divide(rest, grid.average))
        assert sum(len(part.scales) for part in parts) == grid.average.tiles
        assert parts[-1].first + len(parts[-1].codes) == grid.average.tiles


def test_sides_are_those_of_the_pictures() -> None:
    of_means = {name: kind.average_side for name, kind in FIGURE_KINDS.items()}
    of_means["animation"] = ANIMATION_SIDE
    of_heads = {name: kind.head_side for name, kind in FIGURE_KINDS.items()}
    for shown, told in ((of_means, AVERAGE_SIDES), (of_heads, HEAD_SIDES)):
        assert {name: side for name, side in shown.items() if side} == told


@pytest.mark.parametrize("queries", [12, 20])
def test_queries_that_are_padding_are_found_as_in_the_renderer(queries: int) -> None:
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        bias = torch.rand(2, 1, 20, generator=generator) < 0.6
        expected = Mask(bias.numpy(), causal=True).padding(queries, 20, 20 - queries)
        found = padding_of(bias, None, queries, 20, 20 - queries)
        assert found is not None
        assert found.tolist() == ([False] * queries if expected is None else expected.tolist())
    assert padding_of(bias, None, queries, 21, 20 - queries) is None


def test_a_training_is_recorded_as_without_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first capture is made both ways; those after its answer are summed up alone."""
    model = LanguageModel(layers=2, heads=2, width=32)
    sent: list[list[bool]] = []
    make = CaptureSerializer.message

    def note(self: CaptureSerializer, *given: Any) -> Capture:
        capture = make(self, *given)
        sent.append([layer.query is None for layer in capture.attentions])
        return capture

    for where in ("cpu", "device"):
        if where == "device":
            pretend_device(monkeypatch)
            monkeypatch.setattr(CaptureSerializer, "message", note)
        with TrainingAttentionMonitor(
            tmp_path / where, 2, on_device=where == "device", max_overhead=None
        ) as monitor:
            for step in range(0, 6, 2):
                monitor.log_attention(model, batch(seed=step), step=step)
                monitor.log_attention(model, batch(seed=step), step=step + 1)  # it has landed
                wait_for(partial(is_drawn, monitor, step), "the capture to be drawn")
            rows = monitor.coverage()
            assert not [row.why for row in rows if row.why]
            if (summaries := monitor._session.serializer.summaries) is not None:
                summaries.reasons[rows[0].name] = "of a reason"
                assert "not summed up on its device: of a reason" in monitor.coverage()[0].why
    assert sent == [[False, False], [True, True], [True, True]]
    both = [history(tmp_path / where) for where in ("device", "cpu")]
    for found, expected in zip(*both, strict=True):
        for one, other in zip(found["decoder"], expected["decoder"], strict=True):
            for name in other.keys() - {"row_sum_error", "error"}:
                assert one[name] == matching(other[name]), name
    name = "step_4/maps.safetensors"
    found_maps, exact_maps = (load_file(tmp_path / each / name) for each in ("device", "cpu"))
    assert found_maps.keys() == exact_maps.keys()
    for key, values in exact_maps.items():
        apart = (found_maps[key].double() - values.double()).abs().max()
        assert apart <= (1 if values.dtype == torch.uint8 else 1e-3), key
    for layer in range(2):
        name = f"step_4/decoder_layer{layer}_self_attn.png"
        one, other = (np.asarray(Image.open(tmp_path / each / name)) for each in ("device", "cpu"))
        assert np.abs(one.astype(int) - other).max() <= NEIGHBOURS, name


NEIGHBOURS = 6
"""How far the colours of neighbouring codes are apart, of 255."""


def is_drawn(monitor: TrainingAttentionMonitor, step: int) -> bool:
    monitor._session.poll()
    return 2 * monitor._counters.rendered > step


def matching(value: Any) -> Any:
    """Return the same with numbers that rounding may change."""
    if isinstance(value, dict):
        return {key: matching(one) for key, one in value.items()}
    if isinstance(value, list):
        return [matching(one) for one in value]
    return pytest.approx(value, rel=1e-4, abs=1e-6) if isinstance(value, float) else value
