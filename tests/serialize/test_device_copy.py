"""Copies from a device: announced only when they have landed, with the device's part replaced.

What needs the real thing, `scripts/check_cuda.py` shows on a machine that has one.
"""

import weakref
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.models import LanguageModel, batch
from support.outputs import check_outputs, history, summary
from support.slow_device import SlowDevice
from torch import Tensor

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
from attnmon.serialize import device_copy, ring_writer
from attnmon.serialize.device_copy import DeviceCopies


def test_copies_run_on_a_side_stream_that_waits_for_training_and_never_the_other_way() -> None:
    device = SlowDevice()
    target, source = torch.zeros(4), torch.arange(4.0)
    copies = DeviceCopies(target.view(torch.uint8), lambda: 16, device)
    copies.copy(target, source)
    started = copies.end_batch()
    assert device.log == ["register", "wait for training", "on the side stream", "record"]
    assert not started.is_complete()
    alive = weakref.ref(source)
    del source
    assert alive() is None, "its batch would be kept from training until the next step"
    device.fire()
    assert started.is_complete()
    started.finish()
    assert torch.equal(target, torch.arange(4.0))
    copies.unpin()
    assert device.log[-1] == "unregister"


def test_where_pinning_is_refused_the_ring_is_written_when_the_copy_has_landed() -> None:
    device = SlowDevice(pins=False)
    target = torch.zeros(4)
    copies = DeviceCopies(target.view(torch.uint8), lambda: 16, device)
    copies.copy(target, torch.arange(4.0))
    started = copies.end_batch()
    assert torch.equal(target, torch.zeros(4))
    started.wait()
    started.finish()
    assert torch.equal(target, torch.arange(4.0))
    copies.unpin()
    assert "unregister" not in device.log


def test_nothing_is_added_to_a_graph_that_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_copy, "is_recording_a_graph", lambda: True)
    device, target = SlowDevice(), torch.zeros(1)
    copies = DeviceCopies(target.view(torch.uint8), lambda: 4, device)
    with pytest.raises(RuntimeError, match="while a CUDA graph is recorded"):
        copies.copy(target, torch.ones(1))
    assert "on the side stream" not in device.log
    assert not copies.has_copies


def test_each_departure_has_its_own_copies() -> None:
    target = torch.zeros(1)
    copies = DeviceCopies(target.view(torch.uint8), lambda: 4, SlowDevice())
    copies.copy(target, torch.ones(1))
    assert copies.has_copies
    copies.end_batch()
    assert not copies.has_copies


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> SlowDevice:
    """Every copy into the ring goes by way of a slow device."""
    device = SlowDevice(**request.param)

    def copy(self: ring_writer.RingWriter, room: Tensor, tensor: Tensor) -> None:
        self.device_copies.copy(room, tensor.clone())

    monkeypatch.setattr(ring_writer, "DeviceCopies", partial(DeviceCopies, cuda=device))
    monkeypatch.setattr(ring_writer.RingWriter, "copy", copy)
    return device


@pytest.mark.parametrize("device", [{"pins": True}, {"pins": False}], indirect=True)
def test_a_capture_is_announced_at_a_later_step_when_it_has_landed(
    device: SlowDevice, tmp_path: Path
) -> None:
    model = LanguageModel()
    monitor = TrainingAttentionMonitor(tmp_path / "slow", 2, save_raw_weights=True)
    for step in range(4):
        monitor.log_attention(model, batch(seed=step), step=step, loss=float(step))
    producer = monitor._session._producer
    assert producer is not None
    assert producer.pending == 0, "nothing has landed"
    assert monitor.close()["rendered"] == 2, "the end of training may wait"
    assert [line["metadata"]["loss"] for line in history(tmp_path / "slow")] == [0.0, 2.0]
    check_outputs(tmp_path / "slow")


@pytest.mark.parametrize("device", [{"pins": True, "queries": 0}], indirect=True)
def test_a_capture_while_a_graph_is_recorded_fails_alone(
    device: SlowDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LanguageModel()
    with LightweightAttentionMonitor(tmp_path / "run", 1, max_overhead=None) as monitor:
        for step in range(3):
            monkeypatch.setattr(device_copy, "is_recording_a_graph", lambda at=step: at == 1)
            started = device.log.count("on the side stream")
            output = model(batch(seed=step))
            monitor.log_attention(model, batch(seed=step), step=step)
            assert torch.isfinite(output).all()
            assert (device.log.count("on the side stream") == started) == (step == 1)
        (warning,) = monitor._session.guard.remarks.warnings
        accounts = monitor.close()
    assert "while a CUDA graph is recorded" in warning
    assert (accounts["rendered"], accounts["failed"]) == (2, 1)


@pytest.mark.parametrize("device", [{"pins": False, "queries": 2}], indirect=True)
def test_what_lands_late_is_what_was_seen(
    device: SlowDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = LanguageModel()
    with TrainingAttentionMonitor(tmp_path / "slow", 1, save_raw_weights=True) as monitor:
        for step in range(5):
            monitor.log_attention(model, batch(seed=step), step=step)
        assert monitor._session._producer is not None
        announced = monitor._session._producer.pending + monitor._counters.rendered
        assert 1 <= announced < 5
    assert summary(tmp_path / "slow")["rendered"] == 5
    monkeypatch.undo()
    with TrainingAttentionMonitor(tmp_path / "at_once", 1, save_raw_weights=True) as monitor:
        for step in range(5):
            monitor.log_attention(model, batch(seed=step), step=step)
    for step in range(5):
        name = f"step_{step}/attention_weights.safetensors"
        late, at_once = load_file(tmp_path / "slow" / name), load_file(tmp_path / "at_once" / name)
        assert late.keys() == at_once.keys()
        assert all(torch.equal(late[key], at_once[key]) for key in late)


def test_what_the_ring_has_grown_by_is_pinned_too() -> None:
    device, reserved = SlowDevice(), 32
    memory = torch.zeros(96, dtype=torch.uint8)
    copies = DeviceCopies(memory, lambda: reserved, device)
    copies.copy(memory[16:32].view(torch.float32), torch.arange(4.0))
    reserved = 64
    copies.copy(memory[32:48].view(torch.float32), torch.arange(4.0))
    copies.copy(memory[48:64].view(torch.float32), torch.arange(4.0))
    assert torch.equal(memory[16:64].view(torch.float32), torch.arange(4.0).repeat(3))
    assert device.log.count("register") == 2
    copies.unpin()
    assert device.log.count("unregister") == 2


def test_a_copy_across_the_border_of_two_pinned_parts_goes_by_a_buffer() -> None:
    """The runtime knows each part by itself, and refuses a copy into both."""
    device, reserved = SlowDevice(), 32
    memory = torch.zeros(64, dtype=torch.uint8)
    copies = DeviceCopies(memory, lambda: reserved, device)
    copies.copy(memory[:16].view(torch.float32), torch.arange(4.0))
    reserved = 64
    across = memory[24:40].view(torch.float32)
    copies.copy(across, torch.arange(4.0))
    assert torch.equal(across, torch.zeros(4)), "it is still in the buffer"
    started = copies.end_batch()
    started.wait()
    started.finish()
    assert torch.equal(across, torch.arange(4.0))
