"""The uploader's loop against a real HTTP server that fails in every way, with a scaled clock."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from mirror.conftest import URL
from support.gcs_stub import Answer, GcsStub
from support.growing_run import GrowingRun, contents

from attnmon_renderer.mirror.bucket_index import IndexReader
from attnmon_renderer.mirror.buckets.bucket import Bucket
from attnmon_renderer.mirror.buckets.open_bucket import open_bucket
from attnmon_renderer.mirror.copying import Download, check_run
from attnmon_renderer.mirror.mirror_process import MirrorLoop
from attnmon_renderer.mirror.upload_status import read_status
from attnmon_renderer.mirror.uploader import SIDE_BY_SIDE
from attnmon_renderer.storage.records import read_summary


class Day:
    """A clock that goes on when somebody waits; the run makes captures meanwhile."""

    def __init__(self, run: GrowingRun, end: float, seconds_per_capture: float = 10.0) -> None:
        self.now = 1000.0
        self._run = run
        self._end = self.now + end
        self._per_capture = seconds_per_capture
        self._next = self.now
        self.has_ended = False

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        """Wait, at most until the run ends; true if it has."""
        self.sleep(min(seconds, max(self._end - self.now, 0.0)))
        if self.now >= self._end and not self.has_ended:
            self._run.close()
            self.has_ended = True
        return self.has_ended

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        while self._next <= min(self.now, self._end):
            self._run.capture()
            self._next += self._per_capture


def mirror(folder: Path, day: Day, grace: float = 600.0) -> None:
    MirrorLoop(folder, URL, grace, day.wait, clock=day.clock, sleep=day.sleep).run()


def assert_mirrored(run: GrowingRun, stub: GcsStub, tmp_path: Path) -> None:
    """Check that the bucket holds the directory, byte for byte, at little more than its size."""
    stub.fault = lambda method, path: None
    assert check_run(run.folder, URL) == []
    copied = Download(URL, tmp_path / "back").bring()
    assert copied.damages == []
    assert contents(tmp_path / "back") == contents(run.folder)
    summary = read_summary(run.folder / "summary.json").fields
    assert summary["captured"] == run.step


def during(
    begin: float, end: float, answer: Answer, day: Day
) -> Callable[[str, str], Answer | None]:
    return lambda method, path: answer if begin <= day.now - 1000 < end else None


def test_all_is_uploaded_and_little_more_is_sent(tmp_path: Path, stub: GcsStub) -> None:
    run = GrowingRun(tmp_path / "run")
    mirror(run.folder, Day(run, end=1200))
    assert stub.received <= 1.1 * run.written
    assert_mirrored(run, stub, tmp_path)
    status = read_status(run.folder)
    assert status is not None
    assert (status.state, status.pending, status.last_error) == ("complete", 0, "")


FAULTS = {
    "no network for an hour": (600, 4200, (0, b"")),
    "throttled": (100, 300, (503, b"<Error><Code>SlowDown</Code></Error>")),
    "expired at the beginning": (0, 200, (400, b"<Error><Code>ExpiredToken</Code></Error>")),
    "expired later": (300, 500, (401, b"")),
    "expired at the end": (1190, 1300, (403, b"<Error><Code>TokenRefreshRequired</Code></Error>")),
    "a clock off by 20 minutes": (
        200, 400,
        (403, b"<Error><Code>RequestTimeTooSkewed</Code><ServerTime>x</ServerTime></Error>"),
    ),
    "forbidden later": (200, 400, (403, b"<Error><Code>AccessDenied</Code></Error>")),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost(tmp_path: Path, stub: GcsStub, name: str) -> None:
    begin, end, answer = FAULTS[name]
    run = GrowingRun(tmp_path / "run")
    day = Day(run, end=max(1200, min(end + 400, 4600)), seconds_per_capture=60)
    stub.fault = during(begin, end, answer, day)
    mirror(run.folder, day)
    assert stub.received <= 1.1 * run.written
    assert_mirrored(run, stub, tmp_path)


def test_a_thousand_answers_of_503_lose_nothing(tmp_path: Path, stub: GcsStub) -> None:
    run = GrowingRun(tmp_path / "run")
    day = Day(run, end=3600, seconds_per_capture=30)
    chance = random.Random(0)
    refused = 0

    def fault(method: str, path: str) -> Answer | None:
        nonlocal refused
        if refused < 1000 and chance.random() < 0.9:
            refused += 1
            return 503, b""
        return None

    stub.fault = fault
    mirror(run.folder, day, grace=1e6)
    assert refused == 1000
    assert stub.received <= 1.1 * run.written
    assert_mirrored(run, stub, tmp_path)


def test_a_reader_never_finds_an_index_that_names_a_missing_object(
    tmp_path: Path, stub: GcsStub
) -> None:
    run = GrowingRun(tmp_path / "run")
    polls = 0

    def look(method: str, path: str) -> Answer | None:
        """Look into the bucket as it is before each request, as a reader might."""
        nonlocal polls
        if "index.json" in "".join(stub.objects) and method == "PUT" and not looking:
            looking.append(True)
            files = reader.read()
            for file in files.values():
                for part in file.parts:
                    polls += 1
                    assert f"runs/one/{part.object_name}" in stub.objects
            looking.clear()
        return None

    looking: list[bool] = []
    reader = IndexReader(open_bucket(URL))
    stub.fault = look
    mirror(run.folder, Day(run, end=1500, seconds_per_capture=15))
    assert polls > 10_000


NO_BUCKET = 404, b"<Error><Code>NoSuchBucket</Code></Error>"
FORBIDDEN = 403, b"<Error><Code>AccessDenied</Code></Error>"


@pytest.mark.parametrize("answer", [NO_BUCKET, FORBIDDEN])
def test_a_bucket_that_may_not_be_used_is_given_up_at_once(
    tmp_path: Path, stub: GcsStub, answer: Answer
) -> None:
    run = GrowingRun(tmp_path / "run")
    stub.fault = lambda method, path: answer
    mirror(run.folder, Day(run, end=1200))
    status = read_status(run.folder)
    assert status is not None
    assert status.state == "stopped"
    assert f"attnmon sync {run.folder} {URL}" in status.last_error
    assert stub.requests <= SIDE_BY_SIDE


def test_what_is_left_after_the_grace_is_told(tmp_path: Path, stub: GcsStub) -> None:
    run = GrowingRun(tmp_path / "run")
    day = Day(run, end=300)
    stub.fault = during(200, 1e9, (0, b""), day)
    mirror(run.folder, day, grace=900)
    assert 1200 <= day.now - 1000 <= 1300
    status = read_status(run.folder)
    assert status is not None
    assert status.state == "given up"
    assert status.pending > 0
    assert "attnmon sync" in status.last_error


def test_another_run_in_the_directory_has_an_index_of_its_own(
    tmp_path: Path, stub: GcsStub
) -> None:
    folder = tmp_path / "run"
    mirror(folder, Day(first := GrowingRun(folder), end=100))
    before = contents(folder)
    earlier = folder / "run_20260101-000000"
    earlier.mkdir()
    for name in ("history.jsonl", "run.json", "summary.json", "tensorboard"):
        (folder / name).rename(earlier / name)
    for step in folder.glob("step_*"):
        step.rename(earlier / step.name)
    second = GrowingRun(folder, identity="20260202-000000-def456")
    mirror(folder, Day(second, end=100))
    assert first.step == second.step
    assert_mirrored(second, stub, tmp_path)
    moved = contents(tmp_path / "back" / "run_20260101-000000")
    assert moved == before


def test_a_place_that_another_run_holds_is_left_alone(tmp_path: Path, stub: GcsStub) -> None:
    first = GrowingRun(tmp_path / "first")
    mirror(first.folder, Day(first, end=100))
    second = GrowingRun(tmp_path / "second", identity="20260202-000000-def456")
    mirror(second.folder, Day(second, end=100))
    status = read_status(second.folder)
    assert status is not None
    assert status.state == "stopped"
    assert status.last_error == (
        f"nothing is written there (it holds another run, {first.identity}): "
        "give each run a URL of its own"
    )
    assert_mirrored(first, stub, tmp_path)


def test_an_error_that_nobody_thought_of_is_told_and_not_the_end(
    tmp_path: Path, stub: GcsStub
) -> None:
    run = GrowingRun(tmp_path / "run")
    day = Day(run, end=300)

    def open_late(url: str) -> Bucket:
        if day.now < 1100:
            status = read_status(run.folder)
            told.append("" if status is None else status.last_error)
            raise RuntimeError("no such thing")
        return open_bucket(url)

    told: list[str] = []
    MirrorLoop(run.folder, URL, 600, day.wait, open_late, day.clock, day.sleep).run()
    assert told[-1] == "RuntimeError: no such thing"
    assert_mirrored(run, stub, tmp_path)
