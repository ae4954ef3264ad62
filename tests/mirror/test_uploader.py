"""One look of the uploader at a time: what it sends, where it goes on, and what it leaves alone."""

import json
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from mirror.conftest import URL
from support.gcs_stub import GcsStub
from support.growing_run import GrowingRun, contents

from attnmon_renderer.mirror import journal as journal_module
from attnmon_renderer.mirror import pieces
from attnmon_renderer.mirror.buckets.bucket import BucketError, Changed, get
from attnmon_renderer.mirror.buckets.open_bucket import open_bucket
from attnmon_renderer.mirror.copying import Download, check_run, upload_run
from attnmon_renderer.mirror.journal import NAME, Journal
from attnmon_renderer.mirror.run_contents import RunContents
from attnmon_renderer.mirror.uploader import SIDE_BY_SIDE, Uploader
from attnmon_renderer.storage import regular_files


@pytest.fixture
def run(tmp_path: Path) -> GrowingRun:
    run = GrowingRun(tmp_path / "run")
    for _ in range(3):
        run.capture()
    return run


def test_after_an_error_no_more_objects_are_begun(run: GrowingRun, stub: GcsStub) -> None:
    for _ in range(30):
        run.capture(10)
    stub.fault = lambda method, path: (503, b"") if method == "PUT" else None
    with pytest.raises(BucketError):
        upload_run(run.folder, URL)
    assert stub.requests <= 2 * SIDE_BY_SIDE + 1


def test_a_long_upload_stops_when_it_is_told_to(
    run: GrowingRun, stub: GcsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "WAVE", 2)
    answers = iter([True, False])
    uploader = Uploader(run.folder, open_bucket(URL), journal := Journal(run.folder, URL))
    uploader.upload(everything=True, go_on=lambda: next(answers))
    assert uploader.sent.objects == 2
    assert uploader.pending > 0
    uploader.upload(everything=True)
    journal.close()
    assert check_run(run.folder, URL) == []


def test_a_lost_journal_is_made_from_the_index(
    run: GrowingRun, stub: GcsStub, tmp_path: Path
) -> None:
    upload_run(run.folder, URL)
    whole = contents(run.folder)
    removed = run.folder / "step_1" / "decoder_layer0_self_attn.png"
    removed.unlink()  # by the disk budget, for it is in the bucket
    (run.folder / NAME).unlink()
    received = stub.received
    assert upload_run(run.folder, "gs://bucket/elsewhere").files > 0
    assert stub.received > received
    received = stub.received
    upload_run(run.folder, URL)
    assert stub.received - received < 3000  # the index alone
    Download(URL, tmp_path / "back").bring()
    assert contents(tmp_path / "back") == whole


def test_another_run_s_place_is_left_alone(run: GrowingRun, stub: GcsStub, tmp_path: Path) -> None:
    upload_run(run.folder, URL)
    before = dict(stub.objects)
    other = GrowingRun(tmp_path / "other", identity="20260202-000000-def456")
    other.capture()
    with pytest.raises(BucketError, match=f"another run, {run.identity}"):
        upload_run(other.folder, URL)
    stub.objects["runs/one/index.json"] = b"<html>"
    with pytest.raises(BucketError, match="no index of a run"):
        upload_run(other.folder, URL)
    assert stub.objects == {**before, "runs/one/index.json": b"<html>"}


def test_nothing_is_sent_before_the_run_is_known(tmp_path: Path, stub: GcsStub) -> None:
    run = GrowingRun(tmp_path / "run")
    uploader = Uploader(run.folder, open_bucket(URL), journal := Journal(run.folder, URL))
    uploader.upload()
    assert stub.objects == {}
    run.capture()
    uploader.upload()
    journal.close()
    assert json.loads(stub.objects["runs/one/index.json"])["run"] == run.identity


def test_half_a_line_that_was_taken_back_is_sent_anew(run: GrowingRun, stub: GcsStub) -> None:
    history = run.folder / "history.jsonl"
    whole = history.read_bytes()
    history.write_bytes(whole + b'{"metadata":{"st')  # the disk is full amid a line
    upload_run(run.folder, URL)
    history.write_bytes(whole)
    run.capture()  # and has room again
    upload_run(run.folder, URL)
    assert check_run(run.folder, URL) == []


def test_a_full_disk_has_nothing_sent_twice(
    run: GrowingRun, stub: GcsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_full, write = False, os.write

    def write_if_there_is_room(descriptor: int, line: bytes) -> int:
        return write(descriptor, line[: len(line) // 2 if is_full else None])

    uploader = Uploader(run.folder, open_bucket(URL), journal := Journal(run.folder, URL))
    monkeypatch.setattr(journal_module.os, "write", write_if_there_is_room)
    uploader.upload()
    is_full = True
    run.capture()
    uploader.upload(everything=True)
    assert "No space left" in journal.trouble
    sent = stub.received
    uploader.upload(everything=True)
    assert stub.received == sent
    is_full = False
    journal.write()
    assert journal.trouble == ""
    journal.close()
    again = Journal(run.folder, URL)
    assert again.uploads == journal.uploads
    again.close()
    assert check_run(run.folder, URL) == []


def test_a_step_that_vanishes_while_it_is_looked_at_is_left_out(
    run: GrowingRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders_in = regular_files.folders_in

    def vanishing(folder: Path) -> list[str]:
        found = folders_in(folder)
        if folder == run.folder and (run.folder / "step_2").exists():
            shutil.rmtree(run.folder / "step_2")
        return found

    monkeypatch.setattr(regular_files, "folders_in", vanishing)
    names = RunContents(run.folder).files()
    assert {name.partition("/")[0] for name in names if "step" in name} == {"step_1", "step_3"}


FOLDERS = ("file://{}/bucket", "memory://{}/bucket")


@pytest.mark.parametrize("url", FOLDERS)
def test_a_folder_of_a_file_system_that_fsspec_knows(
    run: GrowingRun, tmp_path: Path, url: str
) -> None:
    url = url.format(tmp_path)
    large = run.folder / "step_1" / "attention_weights.safetensors"
    large.write_bytes(bytes(pieces.PART_BYTES + 5))
    upload_run(run.folder, url)
    run.capture()
    upload_run(run.folder, url)
    assert check_run(run.folder, url) == []
    Download(url, tmp_path / "back").bring()
    assert contents(tmp_path / "back") == contents(run.folder)
    assert not list(tmp_path.rglob("*.tmp"))
    other = GrowingRun(tmp_path / "other", identity="20260202-000000-def456")
    other.capture()
    with pytest.raises(BucketError, match=f"another run, {run.identity}"):
        upload_run(other.folder, url)


def test_a_file_system_of_one_connection_is_asked_one_thing_at_a_time(
    run: GrowingRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn, makedirs, clashes = threading.Lock(), MemoryFileSystem.makedirs, list[str]()

    def one_at_a_time(files: MemoryFileSystem, path: str, exist_ok: bool = False) -> None:
        if not turn.acquire(blocking=False):
            clashes.append(path)
            return
        time.sleep(0.002)  # others come meanwhile, if they may
        makedirs(files, path, exist_ok)
        turn.release()

    monkeypatch.setattr(MemoryFileSystem, "makedirs", one_at_a_time)
    assert upload_run(run.folder, "memory://one_connection").files > SIDE_BY_SIDE
    assert clashes == []


@pytest.mark.parametrize("url", FOLDERS)
def test_a_file_is_made_by_one_of_two(tmp_path: Path, url: str) -> None:
    ours, theirs = (open_bucket(url.format(tmp_path)) for _ in range(2))
    first = ours.put_over("index.json", b"1", None)
    with pytest.raises(Changed):
        theirs.put_over("index.json", b"2", None)
    assert theirs.put_over("index.json", b"3", first)
    with pytest.raises(Changed):
        ours.put_over("index.json", b"4", first)
    assert get(ours, "index.json") == b"3"


def at_once(stub: GcsStub, folders: list[Path]) -> list[BaseException | None]:
    """Upload two runs to one place; each has looked at it before any writes its index."""
    both_have_looked, waited = threading.Barrier(2, timeout=30), set[int]()

    def fault(method: str, path: str) -> None:
        if method == "PUT" and path.endswith("index%2Ejson") and len(waited) < 2:
            waited.add(both_have_looked.wait())

    stub.fault = fault
    with ThreadPoolExecutor(2) as pool:
        return [sent.exception() for sent in [pool.submit(upload_run, f, URL) for f in folders]]


def test_of_two_runs_at_once_one_has_the_place(
    run: GrowingRun, stub: GcsStub, tmp_path: Path
) -> None:
    other = GrowingRun(tmp_path / "other", identity="20260202-000000-def456")
    other.capture()
    errors = at_once(stub, [run.folder, other.folder])
    (refused,) = filter(None, errors)
    assert isinstance(refused, BucketError)
    assert refused.kind == "taken"
    won, lost = (run, other) if errors[0] is None else (other, run)
    assert won.identity in str(refused)
    assert check_run(won.folder, URL) == []
    assert set(stub.objects.values()).isdisjoint(
        content for name, content in contents(lost.folder).items() if name.endswith(".png")
    )


def test_two_copies_of_a_run_at_once_are_one(
    run: GrowingRun, stub: GcsStub, tmp_path: Path
) -> None:
    upload_run(run.folder, URL)
    run.capture()
    shutil.copytree(run.folder, tmp_path / "copy")
    copy = GrowingRun(tmp_path / "copy")
    copy.step = run.step
    run.capture()  # the copy is behind
    assert at_once(stub, [run.folder, copy.folder]) == [None, None]
    upload_run(run.folder, URL)
    assert check_run(run.folder, URL) == []
    assert Download(URL, tmp_path / "back").bring().damages == []
    assert contents(tmp_path / "back") == contents(run.folder)


@pytest.mark.parametrize("status", [400, 501])
def test_a_service_without_conditions_is_looked_at_before(
    run: GrowingRun, stub: GcsStub, status: int
) -> None:
    stub.refuses_conditions = status
    upload_run(run.folder, URL)
    run.capture()
    upload_run(run.folder, URL)
    assert check_run(run.folder, URL) == []
    with pytest.raises(Changed):
        open_bucket(URL).put_over("index.json", b"", None)
