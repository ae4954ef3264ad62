"""Has layers on the CPU summed up as if it were a device, in Triton's interpreter."""

from functools import partial

import pytest

from attnmon.capture import AttentionCall
from attnmon.device import kernel_support
from attnmon.serialize import ring_writer, summary_writer
from attnmon.serialize.device_copy import DeviceCopies
from support.slow_device import SlowDevice


def pretend_device(monkeypatch: pytest.MonkeyPatch) -> SlowDevice:
    """Take the CPU for a device that the kernels are made for, whatever is sent for it."""
    device = SlowDevice(queries=0)
    monkeypatch.setattr(AttentionCall, "is_on_cpu", False)
    monkeypatch.setattr(kernel_support, "why_not_on", lambda device: "")
    monkeypatch.setattr(summary_writer, "WORTH", 0)
    monkeypatch.setattr(ring_writer, "DeviceCopies", partial(DeviceCopies, cuda=device))
    return device
