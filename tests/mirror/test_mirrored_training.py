"""A real training with a mirror: the process that uploads, its deaths, and the accounts."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mirror.conftest import URL
from support.forked_script import PipedScript
from support.gcs_stub import GcsStub
from support.models import Translator, batch
from support.project import TESTS
from support.training_process import wait_for, wait_until_closed
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from attnmon import TrainingAttentionMonitor
from attnmon_renderer.commands import main
from attnmon_renderer.mirror.copying import check_run
from attnmon_renderer.mirror.upload_status import read_status
from attnmon_renderer.storage.records import read_summary


def train(folder: Path, steps: int = 4, **options: object) -> tuple[list[float], dict[str, object]]:
    """Train a small model; return the losses and the accounts."""
    torch.manual_seed(0)
    model, losses = Translator(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = TrainingAttentionMonitor(
        folder,
        save_frequency=1,
        max_overhead=None,
        on_full="wait",
        **options,  # type: ignore[arg-type]
    )
    for step in range(steps):
        source, target = batch(2, 9, step), batch(2, 8, step)
        loss = model(source, target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        monitor.log_attention(model, source, target, step, loss.item())
    return losses, monitor.close()


def test_a_training_is_in_the_bucket_when_it_has_ended(tmp_path: Path, stub: GcsStub) -> None:
    losses, _ = train(tmp_path / "mirrored", mirror=URL)
    alone, _ = train(tmp_path / "alone")
    assert losses == alone
    assert check_run(tmp_path / "mirrored", URL) == []
    told = read_summary(tmp_path / "mirrored" / "summary.json").fields
    assert (told["state"], told["captured"], told["rendered"]) == ("closed", 4, 4)
    mirror = told["mirror"]
    assert (mirror["state"], mirror["pending"], mirror["last_error"]) == ("complete", 0, "")
    assert (
        stub.objects["runs/one/summary.json"] == (tmp_path / "mirrored/summary.json").read_bytes()
    )


def test_tensorboard_shows_a_run_that_was_brought_back(tmp_path: Path, stub: GcsStub) -> None:
    train(tmp_path / "here", mirror=URL)
    assert main(["sync", URL, str(tmp_path / "back")]) == 0
    here, back = (
        EventAccumulator(str(tmp_path / name / "tensorboard")) for name in ("here", "back")
    )
    for reader in (here, back):
        reader.Reload()
    tags = back.Tags()
    assert "train/loss" in tags["scalars"]
    assert tags["images"] == here.Tags()["images"] != []
    for tag in tags["scalars"]:
        assert back.Scalars(tag) == here.Scalars(tag)


def test_a_bucket_that_is_not_there_is_told_and_training_goes_on(
    tmp_path: Path, stub: GcsStub, caplog: pytest.LogCaptureFixture
) -> None:
    stub.bucket = "another"
    _, accounts = train(tmp_path, mirror=URL, steps=2, close_timeout=60)
    assert (accounts["rendered"], accounts["failed"]) == (2, 0)
    told = [record.getMessage() for record in caplog.records if "mirror=" in record.getMessage()]
    assert len(told) == 1
    assert "attnmon sync" in told[0]
    mirror = read_summary(tmp_path / "summary.json").fields["mirror"]
    assert mirror["state"] == "stopped"
    assert "attnmon sync" in mirror["last_error"]


def test_close_does_not_wait_longer_than_asked_for(tmp_path: Path, stub: GcsStub) -> None:
    stub.fault = lambda method, path: (503, b"")
    begin = time.monotonic()
    train(tmp_path, mirror=URL, close_timeout=3, mirror_grace=4)
    assert time.monotonic() - begin < 60
    wait_for(lambda: _state(tmp_path) == "given up", "it is not given up")
    wait_until_closed(tmp_path)


def _state(folder: Path) -> str:
    told: str = read_summary(folder / "summary.json").fields.get("mirror", {}).get("state", "")
    return told


def test_a_killed_uploader_is_followed_by_another(tmp_path: Path, stub: GcsStub) -> None:
    def kill(seen: list[int]) -> bool:
        found = [pid for pid in _uploaders() if pid not in seen]
        for pid in found:
            os.kill(pid, signal.SIGKILL)
            seen.append(pid)
        return len(seen) == 2

    with TrainingAttentionMonitor(tmp_path, mirror=URL) as monitor:
        monitor.record("layer", weights=torch.eye(3).expand(1, 1, 3, 3))
        monitor.log_attention(step=0)
        killed: list[int] = []
        wait_for(lambda: kill(killed), "no uploader is started anew")
        wait_for(lambda: bool(_uploaders()), "no uploader is started anew")
    assert check_run(tmp_path, URL) == []


ENDS = """
import os, signal, sys, torch
from attnmon import TrainingAttentionMonitor

monitor = TrainingAttentionMonitor(sys.argv[1], mirror=sys.argv[2], on_full="wait")
monitor.record("layer", weights=torch.eye(3).expand(1, 1, 3, 3))
monitor.log_attention(step=0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_training_has_recorded_is_uploaded(tmp_path: Path) -> None:
    folder, url = tmp_path / "run", f"file://{tmp_path}/bucket"
    training = PipedScript(ENDS, str(folder), url)
    _, errors = training.communicate(timeout=60)
    assert training.returncode == -signal.SIGKILL, errors
    wait_for(lambda: (folder / "mirror.json").exists(), "no uploader has begun")
    wait_for(lambda: read_status(folder).state == "complete", "it is not uploaded")  # type: ignore[union-attr]
    wait_until_closed(folder)
    assert read_summary(folder / "summary.json").fields["state"] == "trainer lost"
    assert check_run(folder, url) == []


def _uploaders() -> list[int]:
    """Return the process ids of the uploaders among this process's descendants."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "comm").read_text().startswith("attnmon: upload"):
                found.append(int(folder.name))
    return found


KILLS = """
import os, signal, sys, time
from pathlib import Path
from support.growing_run import GrowingRun
from attnmon.link.channel import Channel
from attnmon_renderer.mirror.mirror_process import run_mirror

run = GrowingRun(Path(sys.argv[1]))
for kill in range(51):
    run.capture()
    ours, theirs = Channel.pair()
    if (pid := os.fork()) == 0:
        ours.close()
        run_mirror(theirs, run.folder, sys.argv[2], 60.0)
        os._exit(0)
    theirs.close()
    if kill == 50:
        run.close()
    else:
        time.sleep(0.1 + 0.01 * (kill % 20))
        os.kill(pid, signal.SIGKILL)
    ours.close()
    os.waitpid(pid, 0)
print(run.written)
"""


def test_fifty_kills_lose_nothing(tmp_path: Path, stub: GcsStub) -> None:
    command = [sys.executable, "-c", KILLS, str(tmp_path / "run"), URL]
    paths = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=100, env=os.environ | {"PYTHONPATH": paths}
    )
    assert done.returncode == 0, done.stderr
    assert check_run(tmp_path / "run", URL) == []
    # What was sent and not yet noted when it was killed is sent again: the objects of one wave.
    assert stub.received <= 1.1 * int(done.stdout) + 50 * 8 * 20_000
