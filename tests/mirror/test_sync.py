"""`attnmon sync`, both ways, against a real HTTP server."""

import shutil
from pathlib import Path

import google_crc32c
import pytest
from mirror.conftest import URL
from support.gcs_stub import GcsStub
from support.growing_run import GrowingRun, contents

from attnmon_renderer.commands import main
from attnmon_renderer.mirror.bucket_index import IndexWriter
from attnmon_renderer.mirror.buckets.open_bucket import open_bucket
from attnmon_renderer.mirror.uploads import Upload


@pytest.fixture
def run(tmp_path: Path) -> GrowingRun:
    run = GrowingRun(tmp_path / "run")
    for _ in range(3):
        run.capture()
    run.close()
    return run


def test_there_and_back(
    run: GrowingRun, stub: GcsStub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sync", str(run.folder), URL]) == 0
    assert main(["sync", str(run.folder), URL, "--check"]) == 0
    assert main(["sync", URL, str(tmp_path / "back")]) == 0
    assert contents(tmp_path / "back") == contents(run.folder)
    received = stub.received
    assert main(["sync", str(run.folder), URL]) == 0
    assert stub.received == received  # nothing was missing
    assert "0 objects" in capsys.readouterr().out


def test_a_difference_is_told(
    run: GrowingRun, stub: GcsStub, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["sync", str(run.folder), URL])
    del stub.objects["runs/one/step_1/statistics.json"]
    (run.folder / "step_2" / "statistics.json").write_bytes(b"{}")
    run.capture()
    assert main(["sync", str(run.folder), URL, "--check"]) == 1
    told = capsys.readouterr().err
    assert "step_1/statistics.json: the index has" in told
    assert "step_2/statistics.json: shorter here" in told
    assert "step_4/statistics.json: not in the bucket" in told
    assert "history.jsonl: longer here" in told


def test_all_runs_below_a_directory_go_to_places_below(stub: GcsStub, tmp_path: Path) -> None:
    for rank in range(2):
        GrowingRun(tmp_path / "job").close()
        GrowingRun(tmp_path / "job" / f"rank_{rank:05}").capture()
    assert main(["sync", str(tmp_path / "job"), "gs://bucket/job"]) == 0
    assert main(["sync", "gs://bucket/job/rank_00001", str(tmp_path / "one")]) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "job" / "rank_00001")


def test_an_object_that_is_not_as_indexed_is_left_out_and_told(
    run: GrowingRun, stub: GcsStub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["sync", str(run.folder), URL])
    stub.objects["runs/one/run.json"] = b"other"
    assert main(["sync", URL, str(tmp_path / "back")]) == 1
    assert "run.json: other bytes than the index says" in capsys.readouterr().err
    assert not (tmp_path / "back" / "run.json").exists()
    assert (tmp_path / "back" / "history.jsonl").exists()


def test_a_hostile_bucket_writes_nothing_outside(
    stub: GcsStub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket = open_bucket(URL)
    IndexWriter(bucket, "one").write([Upload("../evil", 1, "00000000")])
    assert main(["sync", URL, str(tmp_path / "back")]) == 2
    assert not (tmp_path / "evil").exists()
    assert "a file of a run" in capsys.readouterr().err


def test_a_hostile_bucket_writes_no_file_but_a_run_s(
    run: GrowingRun, stub: GcsStub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["sync", str(run.folder), URL])
    line = b'{"name":"%s","size":3,"crc32c":"364b3fb7"}\n'  # of "abc"
    hostile = (b"train.py", b"step_1/x.py", b"upload.jsonl", b"run_20260101-000000/conftest.py")
    segment = b"".join(line % name for name in (*hostile, b"alerts.jsonl"))
    checksum = google_crc32c.value(segment)
    stub.objects[f"runs/one/index/evil/000001-000001-{checksum:08x}.jsonl"] = segment
    stub.objects["runs/one/index.json"] = (
        b'{"format":"attnmon-index 1","run":"evil","segments":[[1,1,5,%d]]}' % checksum
    )
    for name in (*hostile, b"alerts.jsonl"):
        stub.objects[f"runs/one/{name.decode()}"] = b"abc"
    assert main(["sync", URL, str(tmp_path / "back")]) == 1
    assert sorted(contents(tmp_path / "back")) == ["alerts.jsonl"]
    assert "train.py: left out" in capsys.readouterr().err


def test_an_object_larger_than_told_is_not_brought(
    run: GrowingRun, stub: GcsStub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["sync", str(run.folder), URL])
    stub.objects["runs/one/run.json"] += bytes(5 << 20)
    assert main(["sync", URL, str(tmp_path / "back")]) == 1
    assert "run.json: other bytes" in capsys.readouterr().err
    assert not (tmp_path / "back" / "run.json").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["a", "b"], "give a directory and a URL"), (["gs://a/b", "gs://b/c"], "give a directory"),
     (["{empty}", URL], "no run in"), ([URL, "{empty}/back"], "no run at this URL"),
     (["{empty}", "gs://bucket/a?b"], "without credentials"),
     (["{run}", "file://{run}/copy"], "into its own directory"),
     (["{run}", "nope://x/y"], "nope")],
)  # fmt: skip
def test_what_cannot_be_done_is_said(
    stub: GcsStub,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    GrowingRun(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    filled = [
        argument.format(empty=tmp_path / "empty", run=tmp_path / "run") for argument in arguments
    ]
    assert main(["sync", *filled]) == 2
    assert told in capsys.readouterr().err


def test_a_directory_with_another_run_is_left_alone(
    run: GrowingRun, stub: GcsStub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["sync", str(run.folder), URL])
    other = GrowingRun(tmp_path / "other", identity="20260202-000000-def456")
    other.capture()
    before = contents(other.folder)
    assert main(["sync", URL, str(other.folder)]) == 2
    assert f"holds another run, {other.identity}" in capsys.readouterr().err
    assert contents(other.folder) == before


def test_what_is_newer_is_not_taken_back_by_what_is_older(
    run: GrowingRun, stub: GcsStub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["sync", str(run.folder), URL])
    main(["sync", URL, str(tmp_path / "old")])
    run.capture()
    removed = run.folder / "step_1" / "decoder_layer0_self_attn.png"
    removed.unlink()
    assert main(["sync", URL, str(run.folder)]) == 1  # the bucket is behind
    assert "history.jsonl: kept as it is here" in capsys.readouterr().err
    assert len((run.folder / "history.jsonl").read_text().splitlines()) == 4
    assert removed.exists()
    main(["sync", str(run.folder), URL])
    assert main(["sync", str(tmp_path / "old"), URL]) == 2  # the copy is behind
    assert "an older copy" in capsys.readouterr().err
    assert main(["sync", str(run.folder), URL, "--check"]) == 0
    assert main(["sync", URL, str(tmp_path / "old")]) == 0
    assert contents(tmp_path / "old") == contents(run.folder)


ODD = ("a b", "a%20b", "ü/läufe", "a+b&c=d", "100%", "日本", "*[x]", "~/x")


@pytest.mark.parametrize("prefix", ODD)
def test_odd_names_lead_there_and_back(
    run: GrowingRun, stub: GcsStub, tmp_path: Path, prefix: str
) -> None:
    job = tmp_path / "job"
    (job / prefix).parent.mkdir(parents=True)
    run.folder.rename(job / prefix)
    assert main(["sync", str(job), f"gs://bucket/{prefix}"]) == 0
    assert main(["sync", f"gs://bucket/{prefix}", str(tmp_path / "back")]) == 0
    assert contents(tmp_path / "back") == contents(job)
    assert f"{prefix}/{prefix}/index.json" in stub.objects


def test_names_of_runs_that_a_url_would_cut_off(
    run: GrowingRun, stub: GcsStub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = tmp_path / "job"
    for name in ("lr=1#a", "lr=1#b", "what?", "a%20b", "a b"):
        shutil.copytree(run.folder, job / name)
    assert main(["sync", str(job), "gs://bucket/job"]) == 0
    assert main(["sync", "gs://bucket/job", str(tmp_path / "back")]) == 0
    assert contents(tmp_path / "back") == contents(job)
    assert main(["status", "gs://bucket/job"]) == 0
    assert "lr=1#b" in capsys.readouterr().out


def test_credentials_in_a_url_are_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["status"], ["view"], ["report"], ["compare", "/nowhere"]):
        assert main([*command, "s3://key:geheim@bucket/run"]) == 2
        assert "geheim" not in capsys.readouterr().err


def test_an_endpoint_that_is_no_address_is_told(
    run: GrowingRun, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "geheim", "AWS_REGION": "x",
        "AWS_ENDPOINT_URL": "localhost:9000",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert main(["sync", str(run.folder), "s3://bucket/run"]) == 2
    told = capfd.readouterr().err
    assert "AWS_ENDPOINT_URL=http://" in told
    assert "geheim" not in told
