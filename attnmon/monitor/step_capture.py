"""What is done at a logged step: capture it if it is due, and prepare the next forward.

The order of a step is written in `AttentionMonitor.log_attention`.
"""

from functools import partial
from typing import Any

from torch import nn

from attnmon.accounting.interval_controller import IntervalController
from attnmon.collector.collector import Collector
from attnmon.collector.flight_recorder import FlightRecorder
from attnmon.collector.probe.probe_batch import ProbeBatch
from attnmon.config.settings import Settings
from attnmon.schedule import NO_STEPS, Schedule
from attnmon.serialize.step_info import StepInfo
from attnmon.session.session import Session


class StepCapture:
    """The parts that work on one step: schedule, collector, flight recorder and interval."""

    def __init__(
        self, settings: Settings, session: Session, probe_batch: ProbeBatch | None
    ) -> None:
        self.schedule = Schedule(settings.save_frequency, settings.save_on_epochs)
        self.collector = Collector(settings, session, probe_batch)
        self.flight_recorder = FlightRecorder(settings, session, self.collector)
        self._session = session
        self._interval = IntervalController(
            settings.max_overhead, self.schedule, session.counters, session.guard
        )

    def capture(self, step_info: StepInfo, model: nn.Module | None, enc: Any, dec: Any) -> None:
        """Capture a due step, or retain one that is not due for a later dump."""
        if step_info.retained:
            self.flight_recorder.retain(step_info, model, enc, dec)
        else:
            self._capture_due(step_info, model, enc, dec)

    def _capture_due(
        self, step_info: StepInfo, model: nn.Module | None, enc: Any, dec: Any
    ) -> None:
        """Capture now; if only the model's own forward may be used, at the next step instead."""
        collect = partial(
            self.collector.collect,
            model,
            enc,
            dec,
            image=step_info.image,
            padding=step_info.padding,
        )
        if not self._session.publish(step_info, collect):
            self.schedule.make_next_step_due("epoch" if step_info.by_epoch else "step")
        self._interval.review()

    def prepare_next_forward(self, model: nn.Module | None) -> None:
        """Arm the collector for the model's next forward if its step is due or to be retained."""
        if self.schedule.next_is_due():
            self.collector.watch.arm(model)
        elif self.flight_recorder.enabled:
            self.flight_recorder.arm(model)
        else:
            self.collector.watch.rest()

    def next_is_retained(self) -> bool:
        """Return whether the next step is to be retained, not drawn, as far as is known."""
        return self.flight_recorder.enabled and not self.schedule.next_is_due()

    def idle_steps(self) -> range:
        """Return the next steps at which nothing is to be done, if the epoch stays the same."""
        busy = self.collector.watch.armed or self.flight_recorder.enabled
        if busy or self._session.has_pending_copies:
            return NO_STEPS
        return self.schedule.idle_steps()
