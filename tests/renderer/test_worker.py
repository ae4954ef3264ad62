"""A worker's answer to a capture: its results, and what of them could not be made."""

import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnmon.link import messages
from attnmon.link.channel import Channel
from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock, Slots
from attnmon.link.records.run_setup import RenderOptions, Setup
from attnmon.link.records.training_accounts import Accounts
from attnmon_renderer import process_messages, worker
from attnmon_renderer.drawing.spec.page import Page
from attnmon_renderer.figures.figure_plan import Figure
from attnmon_renderer.process_messages import Drawn
from attnmon_renderer.results import AnimationFrame, RenderedImage, Results, read_from_descriptor
from attnmon_renderer.sinks import raw_weights

WEIGHTS = np.array([[[0.25, 0.75], [1.0, 0.0]]], np.float32)
"""[heads, queries, keys]"""
LAYER = Attention(
    "decoder.0", "decoder", 0, "self_attention", "recorded", (2,),
    weights=ArrayBlock(0, "float32", WEIGHTS.shape), note="rough", error=0.5,
)  # fmt: skip
CAPTURE = Capture(
    7, 100, True, 3, 0.5, 1e-3, 1.5, 1, (Slots(0, 1),), (LAYER,),
    Accounts(captured=8, overhead=0.25), seen_in="recorded", dump_reason="why",
)  # fmt: skip
RING = memoryview(WEIGHTS.tobytes())


def setup(folder: Path, rank: int = 0, world_size: int = 1, **options: Any) -> Setup:
    chosen = RenderOptions(**{"pictures": (), "tensorboard": False, **options})
    return Setup(str(folder), chosen, 1 << 16, 1 << 16, 1, rank=rank, world_size=world_size)


def processed(capture: Capture, setup: Setup) -> tuple[Drawn, Results]:
    drawn, results = worker.process_capture(capture, setup, RING)
    assert results is not None
    return drawn, results


def test_results_carry_what_is_known_of_the_capture_and_its_layers(tmp_path: Path) -> None:
    drawn, results = processed(CAPTURE, setup(tmp_path))
    assert (drawn.sequence, drawn.error) == (7, "")
    assert (results.folder, results.step, results.epoch) == ("epoch_3_step_100", 100, 3)
    assert (results.loss, results.lr, results.timestamp) == (0.5, 1e-3, 1.5)
    assert (results.sample, results.seen_in, results.rank) == (1, "recorded", None)
    assert results.retained
    (layer,) = results.layers
    assert (layer.name, layer.heads, layer.shape) == ("decoder.0", (2,), (1, 2, 2))
    assert (layer.note, layer.error) == ("rough", 0.5)
    assert layer.statistics.mean == pytest.approx(0.5)
    assert results.scalars["attention/decoder_layer0_self_mean"] == layer.statistics.mean
    assert results.scalars["attnmon/overhead"] == 0.25
    assert list(tmp_path.iterdir()) == [], "without pictures it writes nothing"


def test_a_rank_is_named_where_there_are_several(tmp_path: Path) -> None:
    assert processed(CAPTURE, setup(tmp_path, rank=0, world_size=2))[1].rank == 0


def test_results_are_the_same_after_their_way_through_a_descriptor(tmp_path: Path) -> None:
    _, results = processed(CAPTURE, setup(tmp_path))
    results.layers[0].statistics.heads["max_logit"] = [2.0]  # it was NaN, which equals nothing
    results.images.append(RenderedImage("tag", 3, 2, b"png"))
    results.frames.append(
        AnimationFrame("layer", ("", "", ""), (2, 1), (2, 1), 0, True, bytes(16), bytes(4), None)
    )
    assert read_from_descriptor(worker.write_to_descriptor(results)) == results


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pictures named by the test: one called "bad" cannot be drawn."""
    names: list[str] = []

    def page() -> Page:
        raise AssertionError("nothing is drawn here")

    def write(figure: Figure, *_: object) -> str:
        if figure.name == "bad":
            raise ValueError("no such colour")
        return "page of " + figure.name

    def card(figure: Figure, page: str) -> RenderedImage:
        assert page == "page of " + figure.name
        return RenderedImage(figure.name, 1, 1, b"png")

    def plan(*_: object) -> list[Figure]:
        return [Figure(name, name, page) for name in names]

    monkeypatch.setattr(worker, "plan_figures", plan)
    monkeypatch.setattr(worker, "write_figure", write)
    monkeypatch.setattr(worker, "tensorboard_card", card)
    return names


def test_a_picture_that_fails_is_named_and_the_others_are_drawn(
    figures: list[str], tmp_path: Path
) -> None:
    figures += ["first", "bad", "last"]
    drawn, results = processed(CAPTURE, setup(tmp_path, tensorboard=True))
    assert [image.tag for image in results.images] == ["first", "last"]
    assert drawn.error.startswith("bad: ValueError: no such colour (test_worker.py:")
    assert results.layers, "the statistics are as good as ever"


def test_raw_weights_that_cannot_be_written_are_an_error_beside_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(raw_weights, "write_raw", full)
    drawn, results = processed(CAPTURE, setup(tmp_path, raw_weights=True))
    assert drawn.error.startswith("attention_weights.safetensors: OSError")
    assert results.layers


def test_a_packed_step_holds_its_statistics(tmp_path: Path) -> None:
    processed(CAPTURE, setup(tmp_path, pack=True))
    with zipfile.ZipFile(tmp_path / "epoch_3_step_100.zip") as pack:
        assert pack.namelist() == ["statistics.json"]


def test_a_capture_that_cannot_be_read_has_an_error_and_no_results(tmp_path: Path) -> None:
    far = replace(LAYER, weights=ArrayBlock(1 << 12, "float32", WEIGHTS.shape))
    drawn, results = worker.process_capture(
        replace(CAPTURE, attentions=(far,)), setup(tmp_path), RING
    )
    assert results is None
    assert (drawn.sequence, drawn.error.partition(":")[0]) == (7, "ValueError")


def test_it_answers_each_capture_until_the_supervisor_is_gone(tmp_path: Path) -> None:
    supervisor, own = Channel.pair()
    captures = [replace(CAPTURE, sequence=sequence) for sequence in (4, 2)]
    for capture in captures:
        supervisor.send(messages.encode(capture))
    supervisor.end_sending()
    worker.run_worker(own, setup(tmp_path), RING)
    for capture in captures:
        packet = supervisor.receive()
        assert packet is not None
        drawn = process_messages.decode(packet.data)
        assert isinstance(drawn, Drawn)
        assert replace(drawn, seconds=0.0) == Drawn(capture.sequence)
        assert drawn.seconds > 0
        assert read_from_descriptor(*packet.descriptors).step == 100
    supervisor.close()
    own.close()


def test_without_memory_for_the_results_the_capture_is_answered_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(results: Results) -> int:
        raise OSError(24, os.strerror(24))

    monkeypatch.setattr(worker, "write_to_descriptor", full)
    supervisor, own = Channel.pair()
    supervisor.send(messages.encode(CAPTURE))
    supervisor.end_sending()
    worker.run_worker(own, setup(tmp_path), RING)
    packet = supervisor.receive()
    assert packet is not None
    drawn = process_messages.decode(packet.data)
    assert isinstance(drawn, Drawn)
    assert drawn.error.startswith("results: OSError")
    assert packet.descriptors == ()
    supervisor.close()
    own.close()
