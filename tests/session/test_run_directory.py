"""Which directory a run writes to: no two ever write the same file, and none waits for ever."""

import errno
import fcntl
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.models import LanguageModel, batch
from support.outputs import check_outputs, history, summary
from support.training_process import (
    run_training,
    wait_for,
    wait_until_closed,
    wait_until_rendered,
    wait_until_settled,
)

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
from attnmon.link import directory_lock
from attnmon.session import renderer_process
from attnmon.session.renderer_process import RendererProcess
from attnmon.session.run_directory import RunDirectory, claim_directory, describe_strangers
from attnmon_renderer.supervision.write_lock import WriteLock


@contextmanager
def claimed(folder: Path) -> Iterator[RunDirectory]:
    found = claim_directory(folder, time.time())
    try:
        yield found
    finally:
        found.close()


def steps(folder: Path) -> list[int]:
    return [line["metadata"]["step"] for line in history(folder)]


def test_two_monitors_in_one_directory_write_no_file_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = LanguageModel()
    with (
        TrainingAttentionMonitor(tmp_path, 1) as one,
        LightweightAttentionMonitor(tmp_path, 2) as other,
    ):
        for step in range(4):
            one.log_attention(model, batch(), step=step)
            other.log_attention(model, batch(), step=step)
    assert (summary(tmp_path)["rendered"], steps(tmp_path)) == (4, [0, 1, 2, 3])
    assert (summary(tmp_path / "monitor_2")["rendered"], steps(tmp_path / "monitor_2")) == (
        2,
        [0, 2],
    )
    check_outputs(tmp_path)
    check_outputs(tmp_path / "monitor_2")
    (said,) = caplog.records
    assert f"{tmp_path / 'monitor_2'}. Give each monitor a save_dir" in said.getMessage()
    assert other.close()["save_dir"] == str(tmp_path / "monitor_2")


def test_of_many_processes_at_once_each_gets_a_directory_of_its_own(tmp_path: Path) -> None:
    go, ready = os.pipe(), os.pipe()
    children = [fork_claimant(tmp_path, go[0], go[1], ready[1]) for _ in range(8)]
    os.close(ready[1])
    with open(ready[0]) as said:
        places = [said.readline().strip() for _ in children]
    os.close(go[1])  # only now do they let go
    for child in children:
        os.waitpid(child, 0)
    os.close(go[0])
    assert len(set(places)) == 8, places
    assert {Path(place).parent for place in places} <= {tmp_path, tmp_path.parent}


def fork_claimant(folder: Path, go: int, not_mine: int, ready: int) -> int:
    child = os.fork()
    if child == 0:
        os.close(not_mine)
        with claimed(folder) as found:
            os.write(ready, f"{found.path}\n".encode())
            os.read(go, 1)
        os._exit(0)
    return child


def test_a_run_that_was_closed_is_continued_where_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for step in range(2):
        with LightweightAttentionMonitor(tmp_path, 1) as monitor:
            monitor.log_attention(LanguageModel(), batch(), step=step)
    assert steps(tmp_path) == [0, 1]
    assert not caplog.records


def test_a_renderer_waits_for_the_one_that_was_not_waited_for(tmp_path: Path) -> None:
    """The monitor was closed in a hurry; its renderer has stopped in the middle of its work."""
    model = LanguageModel()
    first = LightweightAttentionMonitor(tmp_path, 1)
    first.log_attention(model, batch(), step=0)
    wait_until_settled(first)
    renderer = summary(tmp_path)["pids"][0]
    os.kill(renderer, signal.SIGSTOP)
    first.log_attention(model, batch(), step=1)
    assert first.close(timeout=0)["pending"] == 1
    second = LightweightAttentionMonitor(tmp_path, 1)
    second.log_attention(model, batch(), step=2)
    assert second.close(timeout=1)["pending"] == 1
    assert steps(tmp_path) == [0], "the second has written while the first was at it"
    os.kill(renderer, signal.SIGCONT)
    wait_until_closed(tmp_path, last_step=2)
    assert steps(tmp_path) == [0, 1, 2]
    check_outputs(tmp_path)


def test_a_training_that_was_killed_goes_on_in_its_directory(tmp_path: Path) -> None:
    """Its renderer still has captures to draw, and a child of its own is still alive."""
    ran = run_training(
        f"""
        import time
        monitor = LightweightAttentionMonitor({str(tmp_path)!r}, 1, max_overhead=None)
        model = LanguageModel()
        for step in range(12):
            monitor.log_attention(model, batch(), step=step)
        child = os.fork()
        if child == 0:
            os.close(1)
            os.close(2)
            time.sleep(60)
            os._exit(0)
        print(child, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    child = int(ran.stdout)
    assert ran.returncode == -signal.SIGKILL
    monitor = LightweightAttentionMonitor(tmp_path, 1)
    for step in range(12, 14):
        monitor.log_attention(LanguageModel(), batch(), step=step)
    os.kill(child, signal.SIGKILL)
    accounts = monitor.close()
    assert (accounts["rendered"], accounts["save_dir"]) == (2, str(tmp_path))
    assert steps(tmp_path) == list(range(14))
    assert (summary(tmp_path)["captured"], summary(tmp_path)["state"]) == (2, "closed")
    check_outputs(tmp_path)


def test_a_killed_supervisor_s_children_finish_before_the_next_begins(tmp_path: Path) -> None:
    """The lock is with every process that writes, not with the first of them alone."""
    monitor = LightweightAttentionMonitor(tmp_path, 1)
    monitor.log_attention(LanguageModel(), batch(), step=0)
    wait_until_rendered(tmp_path, 1)
    *others, _ = summary(tmp_path)["pids"]
    writing = directory_lock.open_directory(tmp_path)
    for process in others:
        os.kill(process, signal.SIGKILL)
    fcntl.flock(writing, fcntl.LOCK_EX)
    assert summary(tmp_path)["state"] == "renderer lost", "the recorder is still at it"
    os.close(writing)
    monitor.close()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EBADF, errno.EOPNOTSUPP])
def test_where_directories_cannot_be_locked_it_goes_on_as_ever(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with claimed(tmp_path) as one, claimed(tmp_path) as other:
        assert one.path == other.path == tmp_path
        assert WriteLock(other.writing).try_acquire()


def test_where_it_is_not_told_who_watches_a_directory_in_use_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(fcntl, "F_OFD_GETLK")
    with claimed(tmp_path), claimed(tmp_path) as other:
        assert other.path == tmp_path / "monitor_2"


def test_a_directory_that_may_be_written_and_not_read_is_not_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(
        directory_lock, "open_directory", refuse
    )  # the superuser may read everything
    with LightweightAttentionMonitor(tmp_path, 1) as monitor:
        monitor.log_attention(LanguageModel(), batch(), step=0)
    assert steps(tmp_path) == [0]


def test_a_monitor_that_is_off_claims_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        monkeypatch.setattr("sys.executable", "")
        broken = LightweightAttentionMonitor(tmp_path)  # its renderer cannot be started
        monkeypatch.setenv("ATTNMON_DISABLE", "1")
        disabled = LightweightAttentionMonitor(tmp_path)
    with claimed(tmp_path) as found:
        assert found.path == tmp_path
    broken.close()
    disabled.close()


def test_of_several_that_wait_the_one_that_was_made_first_is_next(tmp_path: Path) -> None:
    """Killed and started again, twice, while the first renderer still draws."""
    claims = [claim_directory(tmp_path, 1.0)]
    for started in (2.0, 3.0):
        os.close(claims[-1].watching)  # the training was killed; its renderer has the other lock
        claims[-1].watching = -1
        claims.append(claim_directory(tmp_path, started))
    assert {one.path for one in claims} == {tmp_path}
    turns = [WriteLock(one.writing, one.number) for one in claims]
    assert [turn.try_acquire() for turn in reversed(turns)] == [False, False, True]
    turns[0].release()
    assert [turn.try_acquire() for turn in (turns[2], turns[1])] == [False, True]
    turns[1].release()
    assert turns[2].try_acquire()
    turns[2].release()
    os.close(claims[2].watching)


def test_a_directory_that_is_not_its_user_s_alone_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o777)
    with LightweightAttentionMonitor(tmp_path, 1):
        pass
    (said,) = caplog.records
    assert "everybody may write to it (mode 0777)" in said.getMessage()
    tmp_path.chmod(0o755)
    assert describe_strangers(tmp_path) == ""
    assert describe_strangers(tmp_path / "not there") == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser can give a directory away")
def test_a_directory_of_another_user_is_told_of(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    assert "it belongs to user 65534, and this is user 0" in describe_strangers(tmp_path)


def test_a_link_below_is_not_taken_for_the_next_monitor_s_directory(tmp_path: Path) -> None:
    save_dir, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    save_dir.mkdir()
    elsewhere.mkdir()
    (save_dir / "monitor_2").symlink_to(elsewhere)
    with claimed(save_dir) as first, claimed(save_dir) as second:
        assert (first.path, second.path) == (save_dir, save_dir / "monitor_3")


def test_a_link_that_the_user_has_chosen_is_one_directory_with_what_it_leads_to(
    tmp_path: Path,
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "mine").symlink_to(tmp_path / "run")
    with claimed(tmp_path / "mine") as first, claimed(tmp_path / "run") as second:
        assert first.path == tmp_path / "mine"
        assert second.path == tmp_path / "run" / "monitor_2"


def has_ended(renderer: int) -> bool:
    renderer_process.none_is_finishing()  # which reaps it
    return not Path(f"/proc/{renderer}").exists()


def test_three_runs_one_after_the_other_are_drawn_in_their_order(tmp_path: Path) -> None:
    """The lock is free when the third is made, but the second waits for it already."""
    renderers = []
    for step in range(3):
        monitor = LightweightAttentionMonitor(tmp_path, 1)
        monitor.log_attention(LanguageModel(), batch(), step=step)
        connection = monitor._session._connection
        assert connection is not None
        assert isinstance(connection.renderer, RendererProcess)
        renderers.append(connection.renderer.process.pid)
        if step == 0:
            wait_until_settled(monitor)
        os.kill(renderers[-1], signal.SIGSTOP)
        assert monitor.close(timeout=0)["save_dir"] == str(tmp_path)
        if step == 1:
            os.kill(renderers[0], signal.SIGCONT)
            wait_for(lambda: has_ended(renderers[0]), "the first renderer does not end")
    for renderer in reversed(renderers[1:]):
        os.kill(renderer, signal.SIGCONT)
    wait_until_closed(tmp_path, last_step=2)
    assert steps(tmp_path) == [0, 1, 2]
