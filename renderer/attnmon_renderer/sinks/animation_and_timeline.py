"""Writes the pictures that span the captures of a run, and grow in the order of recording."""

from pathlib import Path

from attnmon_renderer.insight.alert_log import read_episodes
from attnmon_renderer.results import AnimationFrame, Results
from attnmon_renderer.sinks.put_off import PutOff
from attnmon_renderer.sinks.timeline_entries import TimelineEntries
from attnmon_renderer.storage import atomic_files, regular_files

REDRAW_SECONDS = 5.0
"""The least time from one timeline to the next: it takes as long to draw as several captures."""


class Animations:
    """`animations/decoder_layer0_cross_attn.png` (APNG): a file per layer, a frame per capture."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, results: Results) -> None:
        """Append this capture's frames. Raises OSError.

        Retained captures are left out: they are older than the last frame.
        """
        if results.retained:
            return
        for frame in results.frames:
            self._extend(self._folder / f"{frame.stem}.png", frame)

    def _extend(self, path: Path, frame: AnimationFrame) -> None:
        from attnmon_renderer import drawing

        try:
            before = regular_files.read(path)
        except FileNotFoundError:
            before = b""
        page = drawing.heatmap(frame.heatmap())
        atomic_files.replace(path, drawing.append_frame(before, page).data)


class Timeline:
    """`timeline.png`: entropy of all heads over the steps, layer by layer, the loss beneath.

    The alerts so far are marked.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "timeline.png"
        self._entries = TimelineEntries.of_history(folder / "history.jsonl", damages=[])
        self._drawing = PutOff(REDRAW_SECONDS)

    def write(self, results: Results) -> None:
        """Add a capture, and draw the timeline again if the last is old enough. Raises OSError."""
        self._entries.add_results(results)
        self._drawing.ask()
        if self.seconds_left == 0:
            self.draw()

    @property
    def seconds_left(self) -> float | None:
        """Time until the timeline is to be drawn again; None if it shows all captures."""
        return self._drawing.seconds_left

    def draw(self) -> None:
        """Draw the timeline of all captures. Raises OSError."""
        from attnmon_renderer import drawing

        self._drawing.begin()  # also one that cannot be drawn, which the next capture asks for
        page = drawing.timeline(self._entries.data(read_episodes(self._folder)))
        atomic_files.replace(self._path, drawing.render_png(page).data)
