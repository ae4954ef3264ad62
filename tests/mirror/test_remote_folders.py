"""Commands that read runs read those in a bucket, by the index alone."""

import json
import re
import tempfile
from pathlib import Path

import pytest
from mirror.conftest import URL
from support.gcs_stub import GcsStub
from support.growing_run import GrowingRun
from support.maps import random_weights, write_run
from support.training_process import wait_for

from attnmon_renderer.commands import main
from attnmon_renderer.mirror import remote_folders
from attnmon_renderer.mirror.copying import upload_run
from attnmon_renderer.mirror.remote_folders import is_account, is_not_raw, local_copy


def test_status_of_a_run_and_of_many(
    tmp_path: Path, stub: GcsStub, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank in range(2):
        run = GrowingRun(tmp_path / f"rank_{rank:05}")
        run.capture()
        run.close()
        upload_run(run.folder, f"gs://bucket/job/rank_{rank:05}")
    assert main(["status", "gs://bucket/job/rank_00001", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["last_capture"]["step"]) == ("closed", 1)
    assert told["directory"] == "gs://bucket/job/rank_00001"
    main(["status", "gs://bucket/job/rank_00001/"])
    assert "gs://bucket/job/rank_00001\n" in capsys.readouterr().out
    main(["status", "gs://bucket/job"])
    assert re.findall(r"rank_\d+", capsys.readouterr().out) == ["rank_00000", "rank_00001"]
    assert main(["export", "gs://bucket/job", "--format", "csv", "-o", str(tmp_path / "t")]) == 0


def test_report_and_compare(
    tmp_path: Path,
    stub: GcsStub,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = random_weights(2, 5, 5)
    write_run(tmp_path / "run", {step: {"decoder_layer0_self_attn": weights} for step in (0, 1)})
    upload_run(tmp_path / "run", URL)
    monkeypatch.chdir(tmp_path)
    assert main(["report", URL]) == 0
    assert "<html" in (tmp_path / "report.html").read_text()
    capsys.readouterr()
    assert main(["compare", URL, str(tmp_path / "run"), "--json"]) == 0
    compared = capsys.readouterr().out
    assert json.loads(compared)["verdict"] == "identical"
    assert f'"{URL}"' in compared
    assert tempfile.gettempdir() + "/attnmon-" not in compared


def test_a_copy_follows_the_bucket(
    tmp_path: Path, stub: GcsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_folders, "FOLLOW_SECONDS", 0.05)
    run = GrowingRun(tmp_path / "run")
    run.capture()
    upload_run(run.folder, URL)
    with local_copy(URL, is_not_raw, follow=True) as copy:
        assert (copy / "step_1" / "decoder_layer0_self_attn.png").exists()
        run.capture()
        upload_run(run.folder, URL)
        wait_for(lambda: (copy / "step_2" / "statistics.json").exists(), "nothing new is brought")
    assert not copy.exists()


def test_only_what_is_wanted_is_brought(tmp_path: Path, stub: GcsStub) -> None:
    run = GrowingRun(tmp_path / "run")
    run.capture()
    upload_run(run.folder, URL)
    with local_copy(URL, is_account, follow=False) as copy:
        found = sorted(path.name for path in copy.rglob("*") if path.is_file())
    assert found == ["history.jsonl", "run.json", "summary.json"]


@pytest.mark.parametrize("command", ["status", "report", "view"])
def test_a_url_without_a_run_is_said(
    stub: GcsStub, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, "gs://bucket/nothing"]) == 2
    assert "gs://bucket/nothing cannot be read" in capsys.readouterr().err
