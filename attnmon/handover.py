"""The life of a monitor's renderer, seen from the training process: start, captures, farewell."""

import atexit
import logging
import os
import platform
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from attnmon import launch
from attnmon._version import __version__
from attnmon.attach import Attached, attach
from attnmon.capture import Observation
from attnmon.device import DeviceCopies
from attnmon.guard import Guard, comes_from_signal_handler, describe, place_of
from attnmon.launch import LaunchError, Renderer
from attnmon.link.channel import ChannelClosed
from attnmon.link.messages import LONGEST_ERROR, Setup
from attnmon.link.ring import SLOT_BYTES, Ring, RingError, make_ring
from attnmon.moment import About, Moment, NotSeen, Taken, UnderWay
from attnmon.outbox import Draft, Outbox, RingFull, Tally
from attnmon.places import Place
from attnmon.progress import Progress
from attnmon.scribe import Scribe
from attnmon.settings import Settings

logger = logging.getLogger("attnmon")

PROGRESS_AFTER_SECONDS = 1.0


class Handover:
    """Owns the renderer, the ring and the accounts. Construction waits for nothing."""

    def __init__(self, settings: Settings) -> None:
        self.guard = Guard()
        self.tally = Tally()
        self.closed = False
        self._settings = settings
        self._owner = os.getpid()
        self._sequence = 0
        self._pending = 0
        self._under_way: list[UnderWay] = []
        self._renderer: Renderer | Attached | None = None
        self._outbox: Outbox | None = None
        self._scribe: Scribe | None = None
        if os.environ.get("ATTNMON_DISABLE", "0") not in ("", "0"):
            self.guard.off = "ATTNMON_DISABLE is set"
        elif not settings.takes_part:
            self.guard.off = f"rank {settings.rank} is not among ranks={settings.ranks!r}"
        else:
            self._start()

    def _start(self) -> None:
        if os.name != "posix":
            self.guard.switch_off(f"{platform.system()} is not supported yet")
            return
        ring: Ring | None = None
        try:
            ring = make_ring(self._settings.ring_bytes)
            self._renderer = _renderer(self._settings.renderer)
            self._outbox = Outbox(
                ring, self._renderer.channel, self.tally, wait=self._settings.on_full == "wait"
            )
            self._scribe = Scribe(ring, self.guard)
            self._outbox.open(_setup(self._settings, ring))
        except (RingError, LaunchError, OSError) as error:
            if ring is not None:
                ring.close_descriptor()
            if isinstance(error, ChannelClosed):
                self._renderer_is_gone()  # with its last words
            else:
                self.guard.switch_off(str(error))
            return
        _open_handovers.add(self)

    # While training

    def draft(self) -> Draft:
        """Room for a capture; what was acknowledged in the meantime is free again."""
        assert self._outbox is not None
        self.collect()
        return self._outbox.draft()

    def capture(self, moment: Moment, take: Callable[[], Taken]) -> bool:
        """Announce what `take` has taken; counts whatever comes of it, and raises nothing of ours.

        False when it could not be looked at now, and should be at the next step.
        """
        if self._outbox is None or self.guard.off:
            return True
        if abs(moment.step) >= 1 << 63:
            raise ValueError(f"step={moment.step}: no step of a training, 64 bits are the most")
        self.tally.last_step = moment.step
        self.tally.captured += 1
        try:
            with self._counted(moment), take() as taken:
                if not taken.draft.attentions:
                    self.tally.captured -= 1  # there was nothing to see, and that was said
                elif self._copies is not None and self._copies.busy:
                    self._under_way.append(_take_off(moment, taken, self._copies))
                else:
                    self._announce(self._outbox, moment, taken.about, taken.draft)
        except NotSeen:
            self.tally.captured -= 1
            return False
        return True

    @contextmanager
    def _counted(self, moment: Moment) -> Iterator[None]:
        """Whatever keeps a capture from being announced in this block is counted and said."""
        started = time.perf_counter()
        sequence, outbox = self._sequence, self._outbox
        try:
            yield
        except NotSeen:
            raise
        except RingFull as error:
            self.tally.dropped += 1
            self.guard.warn_once("dropped", _dropped(moment, error))
        except ChannelClosed:
            self._fail_here()
            self.collect()  # it may have said why
            self._renderer_is_gone()
        except BaseException as error:
            if outbox is not None and outbox.has(sequence):
                raise  # announced before the user or a signal interrupted it
            self._fail_here(f"step {moment.step}: {describe(error)}")
            if not isinstance(error, Exception) or comes_from_signal_handler(error.__traceback__):
                raise
            self.guard.failed(place_of(error), _failed(moment, error))
        finally:
            self.tally.hook_seconds += time.perf_counter() - started

    def _announce(self, outbox: Outbox, moment: Moment, about: About, draft: Draft) -> None:
        assert self._scribe is not None
        accounts = self.tally.as_message(outbox.pending)
        message = self._scribe.message(self._sequence, moment, about, draft, accounts)
        self._sequence += 1
        outbox.announce(message, draft)
        self.guard.succeeded()

    def put(self, place: Place, seen: Observation, draft: Draft) -> None:
        """Copy one layer's attention of one sample into the ring."""
        assert self._scribe is not None
        self._scribe.put(place, seen, draft)

    @property
    def _copies(self) -> DeviceCopies | None:
        return None if self._scribe is None else self._scribe.ring_writer.device_copies

    def announce_landed(self, *, wait: bool = False) -> None:
        """Announce what has come from the device in the meantime, in the order of the steps."""
        while self._under_way and self._outbox is not None:
            first = self._under_way[0]
            if wait:
                first.flight.wait()
            if not first.flight.landed():
                return
            del self._under_way[0]
            first.flight.finish()
            with self._counted(first.moment), first.draft as draft:
                self._announce(self._outbox, first.moment, first.about, draft)

    def _fail_here(self, why: str = "") -> None:
        self.tally.failed += 1
        self.tally.failed_here += 1
        self.tally.error = why[:LONGEST_ERROR]

    def collect(self) -> None:
        """Take what the renderer has said since; never waits."""
        if self._outbox is None or self._outbox.lost:
            return
        still_there = self._outbox.collect()
        for kind, text in self._outbox.take_notices():
            self.guard.warn_once(kind, text)
        self._heed_refusal()
        if not still_there and not self.closed:
            self._renderer_is_gone()

    def _heed_refusal(self) -> None:
        if self._outbox is not None and self._outbox.refusal:
            self.guard.switch_off(f"the renderer takes in no more: {self._outbox.refusal}")

    def _renderer_is_gone(self) -> None:
        words = self._renderer.last_words() if self._renderer is not None else ""
        self.guard.switch_off("the renderer has gone" + (f" ({words})" if words else ""))

    def forget(self) -> None:
        """In a forked child: the training, the renderer and the ring are the parent's."""
        self.guard.off = "this is a forked child of the training process"
        if self._renderer is not None:
            self._renderer.abandon()

    # At the end

    def __del__(self) -> None:
        """A monitor that was let go of without `close`: the renderer is told, not waited for."""
        if getattr(self, "_outbox", None) is not None:  # it was constructed, and is not closed
            self.close(timeout=0)

    def close(self, timeout: float | None = None) -> dict[str, Any]:
        """Say goodbye, wait for what is pending, and return the accounts."""
        if self.closed or os.getpid() != self._owner:
            return self.accounts()
        self.closed = True
        _open_handovers.discard(self)
        timeout = self._settings.close_timeout if timeout is None else timeout
        deadline = time.monotonic() + timeout
        try:
            self._finish(deadline)
        except Exception as error:
            if comes_from_signal_handler(error.__traceback__):
                raise
            self.guard.warn_once("close", f"attnmon did not close in order: {describe(error)}")
        finally:  # also after Ctrl-C, which must not have to wait for us
            self._let_go()
            self.guard.off = self.guard.off or "it is closed"
        return self.accounts()

    def _finish(self, deadline: float) -> None:
        self.announce_landed(wait=True)
        if self._outbox is not None and not self._outbox.lost:
            self._see_off(self._outbox, deadline)
            self._heed_refusal()
        if self._renderer is not None:
            self._renderer.wait(deadline - time.monotonic())
            logger.info("%s", _in_a_line(self.accounts(), self._settings))

    def _let_go(self) -> None:
        """The ring's memory goes back when nothing refers to it; the accounts stay."""
        if self._renderer is not None:
            self._renderer.abandon()
        if self._outbox is not None:
            self._pending = self._unsettled()
            self._outbox.forget()
        if self._copies is not None:
            self._copies.release()
        self._outbox = self._scribe = self._renderer = None

    def accounts(self) -> dict[str, Any]:
        """captured == rendered + dropped + failed + pending, always."""
        tally = self.tally
        return {
            "captured": tally.captured,
            "rendered": tally.rendered,
            "dropped": tally.dropped,
            "failed": tally.failed,
            "pending": self._unsettled(),
            "steps": tally.steps,
            "last_step": tally.last_step,
            "hook_seconds": tally.hook_seconds,
            "overhead": tally.overhead,
            "interval": tally.interval,
            "stretched": tally.stretched,
            "save_dir": str(self._settings.save_dir),
        }

    def _unsettled(self) -> int:
        """Captures that are neither drawn nor given up yet."""
        return (
            self._pending if self._outbox is None else self._outbox.pending + len(self._under_way)
        )

    def _see_off(self, outbox: Outbox, deadline: float) -> None:
        """Until the renderer has ended, or the deadline."""
        started = time.monotonic()
        progress = Progress(outbox.pending)
        said = outbox.say_goodbye()
        while not outbox.lost and (left := deadline - time.monotonic()) > 0:
            outbox.await_news(min(left, 0.2))
            said = said or outbox.say_goodbye()
            self.collect()
            if time.monotonic() - started > PROGRESS_AFTER_SECONDS:
                progress.show(outbox.pending)
        progress.clear()


_open_handovers: weakref.WeakSet[Handover] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for handover in list(_open_handovers):
        handover.close()


def _forget_all() -> None:
    for handover in list(_open_handovers):
        handover.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def _setup(settings: Settings, ring: Ring) -> Setup:
    return Setup(
        save_dir=str(settings.save_dir),
        pictures=settings.pictures,
        statistics_files=settings.statistics_files,
        heads=settings.heads,
        raw_weights=settings.save_raw_weights,
        tensorboard=settings.use_tensorboard,
        workers=settings.max_workers,
        statistics_queries=settings.statistics_queries,
        pooling=settings.pooling,
        color_top=1.0 if settings.color_scale == "fixed" else None,
        pack=settings.pack,
        image_format=settings.image_format,
        ring_bytes=ring.nbytes,
        slot_bytes=SLOT_BYTES,
        trainer_pid=os.getpid(),
        rank=settings.rank,
        world_size=settings.world_size,
        versions=(
            ("attnmon", __version__),
            ("python", platform.python_version()),
            ("torch", torch.__version__),
        ),
    )


def _renderer(where: str) -> Renderer | Attached:
    """One of its own, or the one that listens at the usual place or at this path."""
    if where == "own":
        return launch.start()
    return attach("" if where == "attach" else where)


def _take_off(moment: Moment, taken: Taken, copies: DeviceCopies) -> UnderWay:
    """What is to be announced when its copies have landed, and the loss with it."""
    loss = moment.loss
    if isinstance(loss, Tensor) and loss.device.type != "cpu":
        moment = replace(moment, loss=copies.scalar(loss.detach()))
    return UnderWay(copies.depart(), moment, taken.about, taken.keep())


def _dropped(moment: Moment, error: RingFull) -> str:
    return (
        f"the capture of step {moment.step} was dropped: {error}. Training goes on, and drops are "
        "counted. Fewer pictures, a larger save_frequency or on_full='wait' would avoid them."
    )


def _failed(moment: Moment, error: Exception) -> str:
    hint = ""
    if isinstance(error, TypeError):
        hint = (
            " Models are called as model(enc, dec): pass what else they need in a tuple or a dict, "
            "or give a forward_fn."
        )
    return f"the capture of step {moment.step} failed: {describe(error)}.{hint}"


def _in_a_line(accounts: dict[str, Any], settings: Settings) -> str:
    pending = f", {accounts['pending']} still being drawn" if accounts["pending"] else ""
    return (
        f"attnmon: {accounts['captured']} captured, {accounts['rendered']} rendered, "
        f"{accounts['dropped']} dropped, {accounts['failed']} failed{pending}; "
        f"{accounts['hook_seconds']:.3f} s in the training process; see {settings.save_dir}"
    )
