"""Turns an exception during a capture into a counter and one warning.

The user's own exceptions propagate: Ctrl-C, and what a signal handler raises while we run.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attnmon.accounting.counters import Counters
from attnmon.accounting.error_guard import (
    ErrorGuard,
    comes_from_signal_handler,
    describe,
    drop_frames,
    location_of,
)
from attnmon.link.channel import ChannelClosed
from attnmon.link.records.schema import MessageError
from attnmon.link.records.training_accounts import LONGEST_ERROR
from attnmon.serialize.capture_builder import (
    NoRoomToRetain,
    NotSeen,
    RingFull,
    TooLarge,
)
from attnmon.serialize.step_info import StepInfo


class CaptureErrors:
    """The contexts in which captures are collected and announced; they also count the time."""

    def __init__(
        self, counters: Counters, guard: ErrorGuard, on_renderer_lost: Callable[[], None]
    ) -> None:
        """`on_renderer_lost`: called when the channel turns out to be closed."""
        self._counters = counters
        self._guard = guard
        self._on_renderer_lost = on_renderer_lost

    @contextmanager
    def counted(self, step_info: StepInfo, was_announced: Callable[[], bool]) -> Iterator[None]:
        """Count a capture that is not announced in this block as dropped or failed.

        `was_announced`: asked after an exception; what was announced is not counted here. Raises
        `NotSeen` and `NoRoomToRetain`, after which there is no capture, and the user's exceptions.
        """
        with self._counters.timed():
            try:
                yield
            except (NotSeen, NoRoomToRetain):
                raise
            except RingFull as error:
                self._counters.dropped += 1
                self._guard.warn_once("dropped", _dropped(step_info, error))
            except ChannelClosed:
                self._fail()
                self._on_renderer_lost()
            except (TooLarge, MessageError) as error:  # no reason to be off: the next may fit
                self._fail(f"step {step_info.step}: {describe(error)}")
                self._guard.warn_once("too large", f"{_failed(step_info, error)} {_TOO_LARGE}")
                drop_frames(error)
            except BaseException as error:
                if was_announced():
                    raise  # the user or a signal has interrupted what came after it
                self._fail(f"step {step_info.step}: {describe(error)}")
                if _is_the_users(error):
                    raise
                self._guard.failed(location_of(error), _failed(step_info, error))
                drop_frames(error)

    @contextmanager
    def uncounted(self, step_info: StepInfo) -> Iterator[None]:
        """Turn what keeps a step from being retained into a counter and one warning.

        Raises the user's exceptions.
        """
        with self._counters.timed():
            try:
                yield
            except ChannelClosed:
                self._on_renderer_lost()
            except RingFull as error:
                self._counters.not_retained += 1
                self._guard.warn_once("not kept", _not_kept(step_info, error))
            except Exception as error:
                if _is_the_users(error):
                    raise
                self._counters.not_retained += 1
                text = f"step {step_info.step} could not be kept: {describe(error)}"
                self._guard.warn_once(f"kept {location_of(error)}", text)
                drop_frames(error)

    def _fail(self, why: str = "") -> None:
        self._counters.failed += 1
        self._counters.error = why[:LONGEST_ERROR]


def _is_the_users(error: BaseException) -> bool:
    return not isinstance(error, Exception) or comes_from_signal_handler(error.__traceback__)


_TOO_LARGE = (
    "Choose fewer layers with layers_to_visualize, or fewer heads with heads_to_visualize; "
    "ring_bytes is how much of one capture there may be. Training and monitor go on."
)


def _dropped(step_info: StepInfo, error: RingFull) -> str:
    return (
        f"the capture of step {step_info.step} was dropped: {error}. Training goes on, and drops "
        "are counted. Fewer pictures, a larger save_frequency or on_full='wait' would avoid them."
    )


def _not_kept(step_info: StepInfo, error: RingFull) -> str:
    return (
        f"step {step_info.step} could not be kept for keep_last: {error}. Such steps are counted "
        "(not_kept in summary.json). Fewer layers or heads, or a larger ring_bytes, would avoid "
        "them."
    )


def _failed(step_info: StepInfo, error: BaseException) -> str:
    hint = ""
    if isinstance(error, TypeError):
        hint = (
            " Models are called as model(enc, dec): pass what else they need in a tuple or a dict, "
            "or give a forward_fn. With one input it is log_attention(model, x, step=step)."
        )
    return f"the capture of step {step_info.step} failed: {describe(error)}.{hint}"
