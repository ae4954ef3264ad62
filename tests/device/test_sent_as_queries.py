"""Where a layer is not summed up on its device: query and key leave as ever, said once."""

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from support.collecting import any_call
from support.summarising import Device
from support.surveyed_layers import pretend_device

from attnmon.capture import AttentionCall
from attnmon.device import kernel_support, layer_survey
from attnmon.device.kernel_builds import WAITING, NotBuilt
from attnmon.link.records.run_setup import RenderOptions
from attnmon.serialize import summary_writer

pytest.importorskip("triton", reason="Triton has no wheel for this machine")

Change = Callable[[pytest.MonkeyPatch], object]
CUDA = torch.device("cuda", 0)
real_why_not_on = kernel_support.why_not_on.__wrapped__


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    pretend_device(monkeypatch)
    made = Device(RenderOptions((), maps="all", maps_side=8))
    yield made
    made.close()


def called(**how: Any) -> AttentionCall:
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 2, 20, 16, generator=generator)
    return any_call("blocks.0", **{"query": query, "key": key, "scale": 0.25, **how})


def check_sent_as_ever(device: Device, call: AttentionCall, reason: str) -> None:
    """Send it twice, and compare what is in the ring with the call."""
    for _ in range(2):
        device.next_capture()
        sent = device.write(call)
        assert sent.summary is None
        assert sent.query is not None
        assert sent.key is not None
        written = device.serializer.ring_writer.view
        assert torch.equal(written(sent.query), call.query)
        assert torch.equal(written(sent.key), call.key)
        assert reason in device.summaries.reasons["blocks.0"]


def of_another_vendor(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch.version, "hip", "6.4")


def of_an_old_kind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))


def with_triton(version: str | None) -> Change:
    def change(patch: pytest.MonkeyPatch) -> None:
        module = None if version is None else ModuleType("triton")
        if module is not None:
            module.__version__ = version  # type: ignore[attr-defined]
        patch.setitem(sys.modules, "triton", module)
        patch.delenv("TRITON_INTERPRET", raising=False)

    return change


def as_it_is(patch: pytest.MonkeyPatch) -> None:
    """Triton interprets here."""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (of_another_vendor, "for devices of NVIDIA"),
        (of_an_old_kind, "compute capability 7.5, and 8.0 is needed"),
        (with_triton(None), "Triton is not installed"),
        (with_triton("3.3.1"), "Triton 3.3.1 is too old"),
        (as_it_is, "TRITON_INTERPRET is set"),
    ],
)
def test_on_a_device_that_has_no_kernels(
    device: Device, monkeypatch: pytest.MonkeyPatch, change: Change, reason: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    change(monkeypatch)
    monkeypatch.setattr(kernel_support, "why_not_on", lambda device: real_why_not_on(CUDA))
    check_sent_as_ever(device, called(), reason)
    (warning,) = device.guard.remarks.warnings
    assert warning.startswith("on_device: ")
    assert reason in warning


def test_a_triton_that_fits_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    with_triton("3.6.0+git1234")(monkeypatch)
    assert real_why_not_on(CUDA) == ""


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (called(bias=torch.zeros(20, 20).double()), "read no float64"),
        (called(query=torch.randn(2, 20, 16).double()), "read no float64"),
    ],
)
def test_tensors_that_the_kernels_do_not_read(
    device: Device, call: AttentionCall, reason: str
) -> None:
    check_sent_as_ever(device, call, reason)
    assert device.guard.remarks.warnings == ()


@pytest.mark.parametrize("where", ["launch", "mask_facts"])
def test_after_an_error_of_triton(
    device: Device, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("no ptxas")

    place = layer_survey if where == "launch" else summary_writer
    monkeypatch.setattr(place, where, fail)
    bias = torch.ones(20, 20).tril().bool() if where == "mask_facts" else None
    check_sent_as_ever(device, called(bias=bias, causal=False), "no ptxas")
    (warning,) = device.guard.remarks.warnings
    assert "no ptxas" in warning
    assert "Queries and keys are sent instead" in warning
    if where == "mask_facts":
        device.next_capture()
        assert device.write(called(causal=True)).summary is not None, "it has no such mask"


def test_without_memory_on_the_device(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def empty(*shape: int, **how: Any) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(summary_writer.torch, "empty", empty)
    check_sent_as_ever(device, called(), "no memory left")


def test_until_a_kernel_is_compiled(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was launched beside it is not used, and the next time it is tried again."""

    def unbuilt() -> None:
        raise NotBuilt(WAITING)

    with monkeypatch.context() as patch:
        patch.setattr(layer_survey.BUILDS, "require", unbuilt)
        check_sent_as_ever(device, called(causal=True), WAITING)
        assert not device.summaries.is_decided("blocks.0")
    device.next_capture()
    assert device.write(called(causal=True)).summary is not None
    assert device.summaries.reasons == {}
    assert device.guard.remarks.warnings == ()


def test_after_a_failed_compilation(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def unbuilt() -> None:
        raise NotBuilt("its kernels could not be compiled: no compiler")

    monkeypatch.setattr(layer_survey.BUILDS, "require", unbuilt)
    monkeypatch.setattr(layer_survey.BUILDS, "failure", "no compiler")
    check_sent_as_ever(device, called(causal=True), "could not be compiled")
    assert device.summaries.is_decided("blocks.0")
    (warning,) = device.guard.remarks.warnings
    assert "could not be compiled" in warning
