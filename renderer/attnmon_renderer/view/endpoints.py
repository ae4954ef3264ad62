"""Answers each question of the page, from what the index knows.

What a client sends is looked up among keys that were made here. It never becomes part of a path.
"""

import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Literal

from attnmon_renderer.compare.comparison import compare_runs
from attnmon_renderer.compare.series.series_alignment import ALIGNMENTS
from attnmon_renderer.maps.maps_file import MEAN, MapsFile
from attnmon_renderer.maps.maps_header import BadMaps
from attnmon_renderer.storage.run_reader import NoRun
from attnmon_renderer.view.answer import IMMUTABLE, Answer, Refused, json_answer
from attnmon_renderer.view.documents import capture_document, run_document, run_row
from attnmon_renderer.view.page_files import PageFiles
from attnmon_renderer.view.runs.history_chunk import BeyondEnd
from attnmon_renderer.view.runs.listed_captures import MIME_TYPES, ListedCapture
from attnmon_renderer.view.runs.local_run import LocalRun
from attnmon_renderer.view.runs.run_index import RunIndex

Asked = Mapping[str, str]
"""The parts of an address that stand for something, and what follows the question mark."""
MOST_DIGITS = 18
CODES = "application/octet-stream"
ALL = "all"
"""Instead of a layer: every one."""


class Endpoints:
    """What the server has to say. Threads may share it."""

    def __init__(self, index: RunIndex, page: PageFiles) -> None:
        self._index = index
        self._page = page
        self._comparing = Lock()
        self.watched: set[str] = set()
        """Keys of the runs that somebody has asked for."""

    def page(self, asked: Asked) -> Answer:
        """Return the page."""
        return self._page.start()

    def part(self, asked: Asked) -> Answer:
        """Return a file of the page."""
        return self._page.part(asked["digest"], asked["name"])

    def runs(self, asked: Asked) -> Answer:
        """Return the list of runs, newest first."""
        rows = []
        for key, run in self._index.runs().items():
            try:
                rows.append(run_row(key, self._index.title(run), run))
            except NoRun:
                continue  # it has just been removed, or is being made
        return json_answer(sorted(rows, key=lambda row: row["updated"] or 0, reverse=True))

    def run(self, asked: Asked) -> Answer:
        """Return all that is known of a run."""
        key, run = self._run(asked)
        with _read_errors_refused():
            return json_answer(run_document(key, self._index.title(run), run, _cursor(asked)))

    def history(self, asked: Asked) -> Answer:
        """Return lines of a run's history."""
        _, run = self._run(asked)
        with _read_errors_refused():
            chunk = run.history(_cursor(asked))
        headers = {"X-Cursor": str(chunk.cursor)}
        return Answer(chunk.lines, "application/x-ndjson", headers=headers)

    def capture(self, asked: Asked) -> Answer:
        """Return what is known of a capture."""
        run, capture = self._capture(asked)
        with _read_errors_refused():
            if not capture.has_maps:
                return json_answer(capture_document(capture, None))
            with run.maps(capture) as maps:
                return json_answer(capture_document(capture, maps))

    def thumbs(self, asked: Asked) -> Answer:
        """Return the small maps of a layer, or of all of them."""
        run, capture = self._capture(asked)
        with _read_errors_refused(), run.maps(capture) as maps:
            if asked["layer"] == ALL:
                return _codes_answer(maps.all_thumbs())
            codes = maps.thumbs(asked["layer"])
        return _codes_answer(codes.tobytes(), codes.shape)

    def head(self, asked: Asked) -> Answer:
        """Return the map of one head, or of their mean."""
        run, capture = self._capture(asked)
        head = MEAN if asked["head"] == MEAN else _number(asked["head"])
        with _read_errors_refused(), run.maps(capture) as maps:
            codes, scale = maps.codes(asked["layer"], head)
            marginals = dict(_marginals(maps, asked["layer"], head))
        return _codes_answer(codes.tobytes(), codes.shape, {"X-Scale": repr(scale), **marginals})

    def picture(self, asked: Asked) -> Answer:
        """Return a picture of a capture."""
        run, capture = self._capture(asked)
        if (name := asked["name"]) not in capture.pictures:
            raise Refused(404, "no such picture of this capture")
        with _read_errors_refused():
            content = run.picture(capture, name)
        return Answer(content, MIME_TYPES[Path(name).suffix], cache=IMMUTABLE)

    def compare(self, asked: Asked) -> Answer:
        """Compare two runs, one comparison at a time: it takes memory and a processor."""
        (_, a), (_, b) = (self._run({"run": asked.get(name, "")}) for name in ("a", "b"))
        align = asked.get("align") or "step"
        if align not in ALIGNMENTS:
            raise Refused(400, f"align is one of {', '.join(ALIGNMENTS)}")
        at = _decimal(asked["at"]) if asked.get("at") else None
        with self._comparing, _read_errors_refused():
            return json_answer(compare_runs(a.folder, b.folder, align, at).to_json())

    def _run(self, asked: Asked) -> tuple[str, LocalRun]:
        key = asked["run"]
        if (run := self._index.runs().get(key)) is None:
            raise Refused(404, "no such run")
        self.watched.add(key)
        return key, run

    def _capture(self, asked: Asked) -> tuple[LocalRun, ListedCapture]:
        _, run = self._run(asked)
        if (capture := run.capture(asked["capture"])) is None:
            raise Refused(404, "no such capture: it was drawn again, or removed")
        return run, capture


Endpoint = Callable[[Endpoints, Asked], Answer]


def _marginals(maps: MapsFile, stem: str, head: int | Literal["mean"]) -> Iterator[tuple[str, str]]:
    """Yield the headers that say what each key receives, and each query's strongest key."""
    received, strongest = maps.received(stem), maps.strongest(stem)
    layer = maps.metadata.layers[stem]
    if received is not None:
        places = layer.recorded if head == MEAN else [layer.heads.index(head)]
        own = received[places].sum(0) / max(1, len(places))
        yield "X-Received", ",".join(f"{share:.4g}" for share in own)
    if strongest is not None and head != MEAN:
        yield "X-Strongest", ",".join(map(str, strongest[layer.heads.index(head)]))


def _codes_answer(
    codes: bytes, shape: Sequence[int] = (), headers: Mapping[str, str] | None = None
) -> Answer:
    told = {"X-Shape": ",".join(map(str, shape or (len(codes),))), **(headers or {})}
    return Answer(codes, CODES, cache=IMMUTABLE, headers=told)


def _cursor(asked: Asked) -> int:
    return _number(asked.get("after") or "0")


def _number(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= MOST_DIGITS):
        raise Refused(400, f"give a number from 0 on, of at most {MOST_DIGITS} digits")
    return int(digits)


def _decimal(digits: str) -> float:
    try:
        number = float(digits)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Refused(400, "give a number")
    return number


@contextmanager
def _read_errors_refused() -> Iterator[None]:
    """Turn what damaged, hostile and removed files raise into an answer."""
    try:
        yield
    except KeyError as error:
        raise Refused(404, f"not among the maps of this capture: {error}") from error
    except FileNotFoundError as error:
        raise Refused(404, "not there any more, or it never was") from error
    except BeyondEnd as error:
        raise Refused(416, str(error)) from error
    except (NoRun, BadMaps, OSError, zipfile.BadZipFile, ValueError, RecursionError) as error:
        raise Refused(422, f"it cannot be read: {error}") from error
