"""Draws one capture from end to end, without a training, to test a machine."""

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
from attnmon.link.messages import Acknowledgement, Capture, Goodbye
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock, Slots
from attnmon.link.records.run_setup import RenderOptions, Setup
from attnmon.link.records.training_accounts import Accounts
from attnmon.link.ring import SLOT_BYTES, make_ring

TRIAL_WEIGHTS = np.full((2, 12, 12), 1 / 12, np.float32)
"""[heads, queries, keys]: uniform attention."""
LONGEST_SECONDS = 60.0
"""To wait for the answer, and then for the end of the renderer."""
_BOOT = (
    "import sys; from attnmon_renderer.supervision.supervisor import serve; serve(int(sys.argv[1]))"
)


class TrialError(Exception):
    """The capture was not drawn; the text says why."""


def draw_trial_capture() -> float:
    """Start a renderer, send it one capture and check its files; returns the seconds it took.

    Raises:
        TrialError: the capture was not drawn.
        OSError: the machine refuses something.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="attnmon-doctor-") as folder:
        error = _render_in(Path(folder))
        missing = [name for name in _EXPECTED_FILES if not Path(folder, name).is_file()]
    if error or missing:
        raise TrialError(error or f"these files are missing: {', '.join(missing)}")
    return time.monotonic() - started


_EXPECTED_FILES = (
    "step_0/encoder_layer0_self_attn.png", "step_0/statistics.json", "history.jsonl",
    "summary.json",
)  # fmt: skip


def _render_in(folder: Path) -> str:
    """Have the capture drawn in `folder`; returns the error that the renderer reports, or ""."""
    ring = make_ring(SLOT_BYTES)
    setup, capture = _setup(folder, ring.nbytes), _capture()
    ring.memory[: TRIAL_WEIGHTS.nbytes] = TRIAL_WEIGHTS.tobytes()
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
            return _await_acknowledgement(ours)
        finally:
            with contextlib.suppress(ChannelClosed):
                ours.send(messages.encode(Goodbye(Accounts(captured=1))))
            ours.close()
            _shut_down(process)
    finally:
        theirs.close()
        ring.close_descriptor()


def _shut_down(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the renderer's end; kill it if it takes too long."""
    try:
        process.wait(LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await_acknowledgement(channel: Channel) -> str:
    """Returns the error in the renderer's answer, or why there is no answer; "" if all is well."""
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
    """Returns a capture of one layer whose weights are at the start of the ring."""
    attention = Attention(
        name="doctor",
        stack="encoder",
        layer=0,
        type="self_attention",
        source="softmax",
        heads=tuple(range(len(TRIAL_WEIGHTS))),
        weights=ArrayBlock(0, "float32", TRIAL_WEIGHTS.shape),
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
