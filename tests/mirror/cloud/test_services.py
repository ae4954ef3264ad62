"""The same as against the stub, against other people's services, with faults before them."""

import itertools
import secrets
from pathlib import Path

import pytest
from mirror.test_mirror_loop import FAULTS, Day, during
from support.gcs_stub import FaultyServer, no_fault
from support.growing_run import GrowingRun, contents

from attnmon_renderer.commands import main
from attnmon_renderer.mirror.buckets.bucket import BucketError, Changed, NoSuchObject, get
from attnmon_renderer.mirror.buckets.open_bucket import open_bucket
from attnmon_renderer.mirror.copying import Download, check_run
from attnmon_renderer.mirror.mirror_process import MirrorLoop

Service = tuple[FaultyServer, str]


def test_the_verbs(service: Service) -> None:
    bucket = open_bucket(f"{service[1]}/verbs")
    content = {f"a/{size}.bin": secrets.token_bytes(size) for size in (0, 1, 70_000)}
    for name, each in content.items():
        bucket.put(name, each)
    assert {name: get(bucket, name) for name in content} == content
    assert dict(bucket.names()) == {name: len(each) for name, each in content.items()}
    bucket.delete("a/1.bin")
    bucket.delete("a/1.bin")
    with pytest.raises(NoSuchObject):
        get(bucket, "a/1.bin")


def test_an_object_is_written_over_the_version_that_was_seen_alone(service: Service) -> None:
    bucket = open_bucket(f"{service[1]}/conditions")
    first = bucket.put_over("x", b"1", None)
    with pytest.raises(Changed):
        bucket.put_over("x", b"2", None)
    assert bucket.version("x") == first
    second = bucket.put_over("x", b"3", first)
    with pytest.raises(Changed):
        bucket.put_over("x", b"4", first)
    assert (get(bucket, "x"), bucket.version("x")) == (b"3", second)


def test_a_large_file_is_sent_in_pieces(service: Service, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(secrets.token_bytes(20 << 20))
    bucket = open_bucket(f"{service[1]}/large")
    if service[1].startswith("gs:"):
        pytest.skip("the stub takes no multipart upload")
    with large.open("rb") as file:
        bucket.put("large.bin", file)
    assert get(bucket, "large.bin") == large.read_bytes()


def test_a_bucket_that_is_not_there_is_told(service: Service) -> None:
    url = service[1].replace("bucket", "nothere")
    with pytest.raises(BucketError) as raised:
        open_bucket(url).put("x", b"1")
    assert raised.value.kind == "refused"


def test_nothing_is_lost_whatever_fails(service: Service, tmp_path: Path) -> None:
    server, url = service
    run = GrowingRun(tmp_path / "run")
    day = Day(run, end=4600, seconds_per_capture=90)
    begins = itertools.count(100, 600)
    faults = [during(at, at + 130, answer, day)
              for at, (_, _, answer) in zip(begins, FAULTS.values(), strict=False)]  # fmt: skip
    server.fault = lambda method, path: next(filter(None, (f(method, path) for f in faults)), None)
    received = server.received
    MirrorLoop(run.folder, url, 1e6, day.wait, clock=day.clock, sleep=day.sleep).run()
    server.fault = no_fault
    assert server.received - received <= 1.1 * run.written
    assert check_run(run.folder, url) == []
    assert Download(url, tmp_path / "back").bring().damages == []
    assert contents(tmp_path / "back") == contents(run.folder)


def test_sync_and_status(service: Service, tmp_path: Path) -> None:
    run = GrowingRun(tmp_path / "run")
    run.capture()
    run.close()
    url = f"{service[1]}/synced"
    assert main(["sync", str(run.folder), url]) == 0
    assert main(["sync", str(run.folder), url, "--check"]) == 0
    assert main(["status", url]) == 0
