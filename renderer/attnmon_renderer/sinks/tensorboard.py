"""Writes TensorBoard events: one event with all values of a step, flushed when `write` returns.

The file format is tensorboardX's, but its `SummaryWriter` is not used: it imports torch where it
can, writes from a thread of its own and does not tell when it is done.
"""

import math
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from attnmon.link.messages import Capture
from attnmon.link.records.alert import SEVERITIES, Alert
from attnmon.link.records.attention_record import Attention
from attnmon_renderer.analysis.layer_analysis import LayerAnalysis
from attnmon_renderer.results import RenderedImage, Results
from attnmon_renderer.sinks.tensorboard_layout import layout_event
from attnmon_renderer.storage import paths, regular_files

_KEPT_OUT = ("torch", "boto3", "google.cloud.storage", "comet_ml")
_RGBA = 4
_NEW_FILE = "attnmon"
"""The prefix by which tensorboardX knows a path that it is to open by `_NewFile`."""


class _NewFile:
    """Opens files for tensorboardX, which by itself would follow links."""

    def open(self, path: str) -> IO[bytes]:
        """Create the file of a path with its prefix. Raises OSError."""
        return regular_files.create(Path(path.removeprefix(f"{_NEW_FILE}:")))


class TensorBoard:
    """The event file of one recorder, which never appends to a file that was there before.

    Args:
        last_step: the last step recorded before. A first step that is not later is marked as a
            restart, and TensorBoard leaves out what older files have from there on.
    """

    def __init__(self, folder: Path, last_step: int | None = None) -> None:
        self._folder = folder
        self._last_step = last_step
        self._path = folder
        self._writer: Any = None

    def write(self, results: Results) -> None:
        """Append one event with all of the capture's values. Raises OSError."""
        writer = self._open(results.step)
        from tensorboardX.proto import event_pb2

        event = event_pb2.Event(
            wall_time=results.timestamp, step=results.step, summary=_summary(results)
        )
        try:
            writer.write(event.SerializeToString())
            writer.flush()
        except OSError:
            self._writer = None  # readers stop at half an event: begin another file
            raise

    def write_alerts(self, alerts: Sequence[Alert], timestamp: float) -> None:
        """Append what became of alerts: how serious each rule's are, and their words.

        Raises OSError.
        """
        from tensorboardX.proto import event_pb2

        for alert in alerts:
            event = event_pb2.Event(
                wall_time=timestamp, step=alert.step, summary=_alert_summary(alert)
            )
            writer = self._open(alert.step)
            writer.write(event.SerializeToString())
            writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self, step: int) -> Any:
        if self._writer is not None and not regular_files.exists(self._path):
            self.close()  # the user deleted it, and would never see what is written
        if self._writer is None:
            record_writer = _load()
            from tensorboardX.proto import event_pb2

            self._path = self._folder / _file_name()
            self._writer = record_writer.RecordWriter(f"{_NEW_FILE}:{self._path}")
            first = event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2")
            self._writer.write(first.SerializeToString())
            if self._last_step is not None and step <= self._last_step:
                self._writer.write(_restart(step).SerializeToString())
            self._last_step = None
            self._writer.write(layout_event(first.wall_time).SerializeToString())
        return self._writer


def scalars(capture: Capture, analyses: Mapping[Attention, LayerAnalysis]) -> dict[str, float]:
    """Return the scalars of a capture's layers, and of the monitor itself: tag → value."""
    layers = {
        paths.scalar_tag(attention, name): getattr(survey.statistics, name)
        for attention, survey in analyses.items()
        for name in ("mean", "std")
    } | {
        paths.scalar_tag(attention, name): value
        for attention, survey in analyses.items()
        for name, value in _of_all_heads(survey).items()
    }
    accounts = capture.accounts
    return layers | {
        "attnmon/overhead": accounts.overhead,
        "attnmon/dropped": accounts.dropped,
        "attnmon/backlog": accounts.backlog,
    }


def _restart(step: int) -> Any:
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    return Event(wall_time=time.time(), step=step, session_log=SessionLog(status=SessionLog.START))


def _summary(results: Results) -> Any:
    from tensorboardX.proto.summary_pb2 import Summary

    train = {"train/loss": results.loss, "train/lr": results.lr}
    scalars = {tag: value for tag, value in train.items() if value is not None} | results.scalars
    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
    return Summary(value=values + [_image(image) for image in results.images])


def _alert_summary(alert: Alert) -> Any:
    """Return `alerts/<rule>`, 0 for what is over and 3 for an error, and the words beside it."""
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboardX.proto.tensor_pb2 import TensorProto

    level = SEVERITIES.index(alert.severity) + 1 if alert.is_open else 0
    words = f"**{alert.severity}, {alert.state}**: {alert.text} {alert.advice}"
    tag = f"alerts/{alert.rule}"
    plugin = SummaryMetadata.PluginData(plugin_name="text")
    text = TensorProto(dtype="DT_STRING", string_val=[words.encode()])
    return Summary(
        value=[
            Summary.Value(tag=tag, simple_value=level),
            Summary.Value(
                tag=f"{tag}/text_summary",
                metadata=SummaryMetadata(plugin_data=plugin),
                tensor=text,
            ),
        ]
    )


def _image(image: RenderedImage) -> Any:
    from tensorboardX.proto.summary_pb2 import Summary

    encoded = Summary.Image(
        height=image.height,
        width=image.width,
        colorspace=_RGBA,
        encoded_image_string=image.png,
    )
    return Summary.Value(tag=image.tag, image=encoded)


def _of_all_heads(survey: LayerAnalysis) -> dict[str, float]:
    """Return the heads' statistics that show a training in trouble, where they are defined."""
    heads = survey.statistics.heads
    entropies = [value for value in heads["entropy"] if math.isfinite(value)]
    logits = [value for value in heads["max_logit"] if math.isfinite(value)]
    mean = {"entropy": math.fsum(entropies) / len(entropies)} if entropies else {}
    return mean | ({"max_logit": max(logits)} if logits else {})


def _file_name() -> str:
    # The process id and the nanoseconds: two writers in one second must not share a file.
    now = time.time_ns()
    return f"events.out.tfevents.{now // 10**9}.{socket.gethostname()}.{os.getpid()}.{now}"


def _load() -> Any:
    """Import tensorboardX's record writer without the heavy packages that it imports if it can."""
    import google_crc32c

    absent = [package for package in _KEPT_OUT if package not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None: not importable
    try:
        from tensorboardX import record_writer
    finally:
        for package in absent:
            del sys.modules[package]
    record_writer.register_writer_factory(_NEW_FILE, _NewFile())
    record_writer.crc32c = google_crc32c.value  # its own, in pure Python, takes 100 ms a megabyte
    return record_writer
