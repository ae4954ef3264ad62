"""One capture, drawn from end to end without a training: with it a machine is tried."""

import contextlib
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from attnmon.link import messages
from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import (
    Accounts,
    Acknowledgement,
    ArrayBlock,
    Attention,
    Capture,
    Goodbye,
    RenderOptions,
    Setup,
    Slots,
)
from attnmon.link.ring import SLOT_BYTES, make_ring

WEIGHTS = np.full((2, 12, 12), 1 / 12, np.float32)
"""[heads, queries, keys]: uniform attention."""
LONGEST_SECONDS = 60.0
_BOOT = (
    "import sys; from attnmon_renderer.supervision.supervisor import serve; serve(int(sys.argv[1]))"
)


class TrialError(Exception):
    """The capture was not drawn; says why."""


def draw_one() -> float:
    """Start a renderer, hand it one capture, look at what it wrote; returns the seconds it took.

    Raises `TrialError`, or OSError where the machine refuses something.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="attnmon-doctor-") as folder:
        error = _rendered_in(Path(folder))
        missing = [name for name in _EXPECTED if not Path(folder, name).is_file()]
    if error or missing:
        raise TrialError(error or f"these files are missing: {', '.join(missing)}")
    return time.monotonic() - started


_EXPECTED = (
    "step_0/encoder_layer0_self_attn.png", "step_0/statistics.json", "history.jsonl",
    "summary.json",
)  # fmt: skip


def _rendered_in(folder: Path) -> str:
    """The error that the renderer reports; empty when it reports none."""
    ring = make_ring(SLOT_BYTES)
    setup, capture = _setup(folder, ring.nbytes), _capture()
    ring.memory[: WEIGHTS.nbytes] = WEIGHTS.tobytes()
    ours, theirs = Channel.pair()
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOT, str(theirs.fileno())],
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip
        theirs.close()
        try:
            ours.send(messages.encode(setup), [ring.descriptor])
            ours.send(messages.encode(capture))
            return _answer(ours)
        finally:
            with contextlib.suppress(ChannelClosed):
                ours.send(messages.encode(Goodbye(Accounts(captured=1))))
            ours.close()
            _see_off(process)
    finally:
        theirs.close()
        ring.close_descriptor()


def _see_off(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answer(channel: Channel) -> str:
    deadline = time.monotonic() + LONGEST_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        select.select([channel], [], [], left)
        try:
            packet = channel.receive()
        except ChannelClosed:
            return "the renderer ended before it answered; what it said stands above"
        if packet is not None:
            answer = messages.decode(packet.data)
            assert isinstance(answer, Acknowledgement)
            return answer.error
    return f"the renderer did not answer within {LONGEST_SECONDS:g} s"


def _setup(folder: Path, ring_bytes: int) -> Setup:
    return Setup(
        save_dir=str(folder),
        options=RenderOptions(pictures=("heatmap",)),
        ring_bytes=ring_bytes,
        slot_bytes=SLOT_BYTES,
        trainer_pid=os.getpid(),
    )


def _capture() -> Capture:
    """The weights of one layer, at the start of the ring."""
    attention = Attention(
        name="doctor",
        stack="encoder",
        layer=0,
        type="self_attention",
        source="softmax",
        heads=tuple(range(len(WEIGHTS))),
        weights=ArrayBlock(0, "float32", WEIGHTS.shape),
    )
    return Capture(
        sequence=0,
        step=0,
        by_epoch=False,
        epoch=None,
        loss=None,
        lr=None,
        timestamp=time.time(),
        sample=0,
        slots=(Slots(0, 1),),
        attentions=(attention,),
        accounts=Accounts(captured=1),
    )
