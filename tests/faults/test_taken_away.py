"""What programs and systems take away: descriptors, /proc, room in files, an answer of the disk."""

import json
import threading
from pathlib import Path

import pytest
from support.models import LanguageModel, batch
from support.namespaces import namespace_command
from support.outputs import summary
from support.training_process import run_training
from torch import Tensor

from attnmon import TrainingAttentionMonitor
from attnmon.config import settings

pytestmark = pytest.mark.usefixtures("renderers_are_new_interpreters")

CLOSES_EVERYTHING = """
    import socket
    monitor = TrainingAttentionMonitor({folder!r}, 1, keep_last=2)
    model = LanguageModel()
    monitor.log_attention(model, batch(), step=0)
    os.closerange(3, 4096)
    files = [open(f"{folder}_{{number}}", "w+b") for number in range(40)]
    pairs = [socket.socketpair() for _ in range(20)]
    for step in range(1, 4):
        monitor.log_attention(model, batch(), step=step)
    accounts = monitor.close()
    del monitor
    assert "closed attnmon's file descriptors" in accounts["off"], accounts
    assert accounts["captured"] == accounts["rendered"] + accounts["failed"]
    for number, file in enumerate(files):
        assert os.fstat(file.fileno()).st_size == 0
        file.write(b"x")
        file.close()
    for one, other in pairs:
        one.send(b"mine")
        assert other.recv(10) == b"mine"
    print("ok")
"""


def test_a_program_that_closes_all_descriptors_keeps_those_that_it_opens_then(
    tmp_path: Path,
) -> None:
    out = run_training(CLOSES_EVERYTHING.format(folder=str(tmp_path / "logs")))
    assert out.stdout.strip().splitlines()[-1:] == ["ok"], out.stderr
    assert out.returncode == 0


def test_without_a_proc_file_system_everything_is_drawn(tmp_path: Path) -> None:
    hide = 'mount -t tmpfs none /proc && exec "$@"'
    out = run_training(
        f"""
        with TrainingAttentionMonitor({str(tmp_path / "logs")!r}, 1) as monitor:
            monitor.log_attention(LanguageModel(), batch(), step=0)
        """,
        prefix=[*namespace_command("--mount"), "sh", "-c", hide, "sh"],
    )
    assert out.returncode == 0, out.stderr
    assert summary(tmp_path / "logs")["rendered"] == 1


DEEP = ("[" * 100_000, '{"metadata": ' * 50_000, "[1]", "3", '{"metadata": {"step": 1e999}}')


@pytest.mark.parametrize("text", DEEP, ids=["deep", "deep mappings", "list", "number", "infinity"])
def test_a_directory_with_odd_json_is_gone_on_with(text: str, tmp_path: Path) -> None:
    for name in ("summary.json", "run.json", "history.jsonl", "earlier_summary.json"):
        (tmp_path / name).write_text(f"{text}\n")
    with TrainingAttentionMonitor(tmp_path, 1) as monitor:
        monitor.log_attention(LanguageModel(), batch(), step=7)
    assert summary(tmp_path)["rendered"] == 1
    assert (tmp_path / "step_7" / "decoder_layer0_self_attn.png").exists()


def test_a_small_limit_for_files_is_said_or_kept_to(tmp_path: Path) -> None:
    """RLIMIT_FSIZE also bounds memory files; exceeding it is no end of the training."""
    script = """
        import resource
        for name, limit in (("roomy", 4 << 20), ("small", 1 << 16)):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, 4 << 20))
            with TrainingAttentionMonitor({folder!r} + name, 1) as monitor:
                monitor.log_attention(LanguageModel(), batch(), step=0)
            print(name, monitor.close()["rendered"], bool(monitor.close()["off"]))
    """
    out = run_training(script.format(folder=str(tmp_path / "logs_")))
    assert out.stdout.splitlines()[-2:] == ["roomy 1 False", "small 0 True"], out.stderr


def test_a_disk_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers, made = threading.Event(), settings.make_writable_directory
    monkeypatch.setattr(settings, "PATIENCE_SECONDS", 0.05)

    def hang(path: Path, mode: int) -> None:
        answers.wait()
        made(path, mode)

    monkeypatch.setattr(settings, "make_writable_directory", hang)
    monitor = TrainingAttentionMonitor(tmp_path / "logs", 1)
    monitor.log_attention(LanguageModel(), batch(), step=0)
    assert "has not answered for 0.05 s" in monitor.close()["off"]
    assert caplog.text.count("has not answered") == 1
    answers.set()
    for thread in threading.enumerate():
        if thread.name == "attnmon: save_dir":
            thread.join()


class Endless(LanguageModel):
    def forward(self, tokens: Tensor) -> Tensor:
        raise RuntimeError("x" * 50_000_000)


def test_an_error_without_end_is_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = Endless()
    with TrainingAttentionMonitor(tmp_path, 1) as monitor:
        for step in range(4):
            monitor.log_attention(model, batch(), step=step, loss="9" * 10_000_000 + "x")  # type: ignore[arg-type]
        monitor.dump("y" * 50_000_000)
    assert max(len(record.getMessage()) for record in caplog.records) < 5000
    assert len(json.dumps(monitor.close())) < 20_000
    assert (tmp_path / "summary.json").stat().st_size < 50_000
