"""What becomes of a capture that came to nothing: it is counted, said once, and goes no further.

Only what is the user's own passes: Ctrl-C, and what a signal handler raises while we run.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attnmon.accounting.counters import Counters
from attnmon.accounting.error_guard import (
    ErrorGuard,
    comes_from_signal_handler,
    describe,
    let_go_of_frames,
    place_of,
)
from attnmon.link.channel import ChannelClosed
from attnmon.link.messages import LONGEST_ERROR
from attnmon.serialize.capture_builder import NoRoomToRetain, NotSeen, RingFull
from attnmon.serialize.step_info import StepInfo


class CaptureErrors:
    """lost: called when the renderer turns out to be gone."""

    def __init__(self, counters: Counters, guard: ErrorGuard, lost: Callable[[], None]) -> None:
        self._counters = counters
        self._guard = guard
        self._lost = lost

    @contextmanager
    def counted(self, step_info: StepInfo, was_announced: Callable[[], bool]) -> Iterator[None]:
        """Whatever keeps a capture from being announced in this block is dropped or failed.

        Lets through `NotSeen` and `NoRoomToRetain`: then there was none.
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
                self._lost()
            except BaseException as error:
                if was_announced():
                    raise  # before the user or a signal interrupted it
                self._fail(f"step {step_info.step}: {describe(error)}")
                if _is_the_users(error):
                    raise
                self._guard.failed(place_of(error), _failed(step_info, error))
                let_go_of_frames(error)

    @contextmanager
    def uncounted(self, step_info: StepInfo) -> Iterator[None]:
        """Whatever keeps a step from being kept in this block costs that step alone."""
        with self._counters.timed():
            try:
                yield
            except RingFull:
                pass
            except ChannelClosed:
                self._lost()
            except Exception as error:
                if _is_the_users(error):
                    raise
                words = f"step {step_info.step} could not be kept: {describe(error)}"
                self._guard.warn_once(f"kept {place_of(error)}", words)
                let_go_of_frames(error)

    def _fail(self, why: str = "") -> None:
        self._counters.failed += 1
        self._counters.error = why[:LONGEST_ERROR]


def _is_the_users(error: BaseException) -> bool:
    return not isinstance(error, Exception) or comes_from_signal_handler(error.__traceback__)


def _dropped(step_info: StepInfo, error: RingFull) -> str:
    return (
        f"the capture of step {step_info.step} was dropped: {error}. Training goes on, and drops "
        "are counted. Fewer pictures, a larger save_frequency or on_full='wait' would avoid them."
    )


def _failed(step_info: StepInfo, error: BaseException) -> str:
    hint = ""
    if isinstance(error, TypeError):
        hint = (
            " Models are called as model(enc, dec): pass what else they need in a tuple or a dict, "
            "or give a forward_fn. With one input it is log_attention(model, x, step=step)."
        )
    return f"the capture of step {step_info.step} failed: {describe(error)}.{hint}"
