"""One renderer for several trainings: real processes, a real socket, and what befalls them."""

import os
import resource
import select
import signal
import socket
import stat
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.forked_script import PipedScript
from support.models import LanguageModel, batch
from support.outputs import check_outputs, history, summary
from support.project import TESTS
from support.standalone_renderer import Renderer, running_renderer
from support.training_process import PATIENCE, wait_for

from attnmon import LightweightAttentionMonitor
from attnmon.config import validation
from attnmon.link import messages, rendezvous
from attnmon.link.channel import Channel
from attnmon.link.rendezvous import RendezvousError
from attnmon.link.ring import SLOT_BYTES
from attnmon_renderer.doctor import trial_capture


def state(save_dir: Path) -> str:
    return str(summary(save_dir)["state"]) if (save_dir / "summary.json").exists() else "none"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory with a short path that another user could reach, if it were not private."""
    with tempfile.TemporaryDirectory(prefix="met", dir="/tmp") as short:
        os.chmod(short, 0o755)
        yield Path(short, "sockets")


def monitor(save_dir: Path, at: Renderer, **options: Any) -> LightweightAttentionMonitor:
    return LightweightAttentionMonitor(save_dir, 1, renderer=str(at.socket), **options)


def log_steps(watched: LightweightAttentionMonitor, steps: int, first: int = 0) -> None:
    model = LanguageModel()
    for step in range(first, first + steps):
        watched.log_attention(model, batch(), step=step, loss=1.0)


TRAINER = f"""
    import os, signal, sys, time
    sys.path.insert(0, {str(TESTS)!r})
    from support.models import LanguageModel, batch
    from attnmon import TrainingAttentionMonitor
    monitor = TrainingAttentionMonitor(sys.argv[1], 1)
    model = LanguageModel()
    def log(step): monitor.log_attention(model, batch(), step=step, loss=1.0)
"""


def trainer(save_dir: Path, at: Renderer, body: str) -> PipedScript:
    source = textwrap.dedent(TRAINER) + textwrap.dedent(body)
    return PipedScript(source, str(save_dir), variables={"ATTNMON_RENDERER": str(at.socket)})


def test_two_trainings_are_served_though_one_is_killed(folder: Path, tmp_path: Path) -> None:
    """All captures of both are on disk; the killed one's are no less drawn than the other's."""
    with running_renderer(folder) as shared:
        victim = trainer(tmp_path / "victim", shared, """
            for step in range(8): log(step)
            os.kill(os.getpid(), signal.SIGKILL)
        """)  # fmt: skip
        other = trainer(tmp_path / "other", shared, """
            for step in range(4): log(step)
            print("half", flush=True); input()
            for step in range(4, 8): log(step)
            monitor.close()
        """)  # fmt: skip
        assert other.stdout.readline() == "half\n"
        victim.communicate()
        shared.says("trainer lost: 8 captured, 8 rendered, 0 dropped, 0 failed")
        _, errors = other.communicate("\n")
        assert (victim.returncode, other.returncode, errors) == (-signal.SIGKILL, 0, "")
        shared.says("closed: 8 captured, 8 rendered, 0 dropped, 0 failed")
        assert shared.end(signal.SIGTERM) == 0
    for name, state in (("victim", "trainer lost"), ("other", "closed")):
        assert [line["metadata"]["step"] for line in history(tmp_path / name)] == list(range(8))
        assert len(list((tmp_path / name).glob("step_*/*.png"))) == 2 * 8
        assert summary(tmp_path / name)["state"] == state
        check_outputs(tmp_path / name)


def test_each_training_has_processes_of_its_own(folder: Path, tmp_path: Path) -> None:
    """A supervisor that is killed takes nothing of the other's with it."""
    with running_renderer(folder) as shared:
        first, second = monitor(tmp_path / "a", shared), monitor(tmp_path / "b", shared)
        log_steps(first, 1)
        log_steps(second, 1)
        for name in ("a", "b"):
            wait_for(lambda n=name: state(tmp_path / n) == "running", "nothing is written")
        pids = [set(summary(tmp_path / name)["pids"]) for name in ("a", "b")]
        assert not pids[0] & pids[1]
        os.kill(summary(tmp_path / "a")["pids"][0], signal.SIGKILL)
        shared.says("1: running")
        log_steps(second, 3, first=1)
        assert second.close()["rendered"] == 4
        accounts = first.close()
        assert accounts["captured"] == accounts["rendered"] + accounts["failed"] == 1
    check_outputs(tmp_path / "b")


def test_attach_finds_the_renderer_at_the_usual_place(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with running_renderer(folder / "attnmon"):
        with LightweightAttentionMonitor(tmp_path, renderer="attach") as watched:
            log_steps(watched, 1)
        assert watched.close()["rendered"] == 1


def test_a_training_that_attaches_again_at_once_is_in_the_same_directory(
    folder: Path, tmp_path: Path
) -> None:
    """Who hears that everything is settled may rely on it: nothing more is written."""
    with running_renderer(folder) as shared:
        for step in range(4):
            again = monitor(tmp_path / "run", shared)
            log_steps(again, 1, first=step)
            assert again.close()["save_dir"] == str(tmp_path / "run")
    assert [line["metadata"]["step"] for line in history(tmp_path / "run")] == list(range(4))


def test_without_a_renderer_the_monitor_is_off_and_says_what_to_start(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with LightweightAttentionMonitor(tmp_path, renderer="attach") as watched:
        log_steps(watched, 1)
        assert not watched.enabled
    [warning] = caplog.messages
    assert "start `attnmon-renderer`" in warning
    assert str(folder) in warning


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ("own", None, "own"),
        ("attach", None, "attach"),
        ("own", "attach", "attach"),
        ("attach", "own", "own"),
        ("attach", "", "attach"),
        ("own", "/run/x.sock", "/run/x.sock"),
        (Path("/run/x.sock"), None, "/run/x.sock"),
    ],
)
def test_the_environment_goes_before_the_script(
    given: Any, environment: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ATTNMON_RENDERER", raising=False)
    if environment is not None:
        monkeypatch.setenv("ATTNMON_RENDERER", environment)
    assert validation.renderer("renderer", given) == expected


def test_a_misspelt_choice_raises_and_names_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"^renderer: unknown 'atach'.*Did you mean 'attach'"):
        validation.renderer("renderer", "atach")
    monkeypatch.setenv("ATTNMON_RENDERER", "onw")
    with pytest.raises(ValueError, match=r"^ATTNMON_RENDERER: unknown 'onw'.*'own', 'attach'"):
        validation.renderer("renderer", "own")


def test_the_socket_is_its_user_s_alone(folder: Path) -> None:
    with running_renderer(folder) as shared:
        for path, mode in (
            (folder, 0o700),
            (shared.socket, 0o600),
            (folder / "renderer.lock", 0o600),
        ):
            assert stat.S_IMODE(path.lstat().st_mode) == mode, path
        assert shared.end(signal.SIGTERM) == 0
    assert [path.name for path in folder.iterdir()] == ["renderer.lock"]


NOBODY = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def as_nobody(act: Callable[[], None]) -> int:
    """The exit code of a child that does this as another user: 0, or the number of the OSError."""
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            act()
            code = 0
        except OSError as error:
            code = error.errno or 254
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@root_only
def test_another_user_is_refused_by_the_modes_and_by_the_kernel_s_word(folder: Path) -> None:
    with running_renderer(folder) as shared:

        def knock() -> None:
            with socket.socket(socket.AF_UNIX, rendezvous.KIND) as connection:
                connection.connect(str(shared.socket))
                assert connection.recv(100) == b"", "it was let in"

        assert as_nobody(knock) == 13, "EACCES: it cannot even reach the socket"
        folder.chmod(0o755)
        shared.socket.chmod(0o666)
        assert as_nobody(knock) == 0
        shared.says(f"refused a connection: the process at the other end is user {NOBODY}'s")
        assert shared.end(signal.SIGTERM) == 0


@root_only
def test_a_trainer_hands_nothing_to_another_user_s_renderer(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    path = folder / "false.sock"
    ready, heard = os.pipe(), os.pipe()

    def impersonate() -> None:
        with socket.socket(socket.AF_UNIX, rendezvous.KIND) as listener:
            listener.bind(str(path))
            listener.listen()
            os.write(ready[1], b".")
            connection, _ = listener.accept()
            os.write(heard[1], connection.recv(100) + b".")
            connection.close()

    if (pid := os.fork()) == 0:
        os._exit(as_nobody(impersonate))
    os.read(ready[0], 1)
    with LightweightAttentionMonitor(tmp_path, renderer=str(path)) as watched:
        log_steps(watched, 1)
    os.waitpid(pid, 0)
    assert os.read(heard[0], 100) == b".", "something was said"
    for end in (*ready, *heard):
        os.close(end)
    assert f"user {NOBODY}'s" in caplog.messages[0]


def test_the_check_of_the_other_end_compares_users(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = socket.socketpair()
    with one, other:
        rendezvous.require_same_user(one)
        monkeypatch.setattr(os, "geteuid", lambda: 4242)
        with pytest.raises(RendezvousError, match="this is user 4242's"):
            rendezvous.require_same_user(one)


def test_a_folder_that_others_may_enter_is_refused(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    refused = Renderer(folder)
    assert refused.process.wait(PATIENCE) == 1
    assert "is open to other users (mode 0755" in refused.log
    refused.close()
    (link := folder / "link").symlink_to(folder)
    with pytest.raises(RendezvousError, match="not a directory, or is a link"):
        rendezvous.require_private(link)


def test_a_stale_socket_is_replaced(folder: Path, tmp_path: Path) -> None:
    with running_renderer(folder) as killed:
        killed.end(signal.SIGKILL)
    assert killed.socket.exists()
    with pytest.raises(ConnectionRefusedError):
        rendezvous.connect(killed.socket)
    with running_renderer(folder) as shared:
        with monitor(tmp_path, shared) as watched:
            log_steps(watched, 1)
        assert watched.close()["rendered"] == 1
        assert shared.end(signal.SIGTERM) == 0


def test_what_is_no_socket_is_not_removed(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / rendezvous.SOCKET_NAME).write_text("the user's")
    refused = Renderer(folder)
    assert refused.process.wait(PATIENCE) == 1
    assert "is no socket" in refused.log
    assert (folder / rendezvous.SOCKET_NAME).read_text() == "the user's"
    refused.close()


def test_a_second_renderer_says_that_there_is_one(folder: Path, tmp_path: Path) -> None:
    with running_renderer(folder) as first:
        second = Renderer(folder)
        assert second.process.wait(PATIENCE) == 1
        assert f"a renderer (process {first.process.pid}) listens" in second.log
        second.close()
        with monitor(tmp_path, first) as watched:
            log_steps(watched, 1)
        assert watched.close()["rendered"] == 1, "the first one is as it was"


def test_a_renderer_that_dies_turns_the_monitor_off_and_the_next_serves_the_next(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was announced is drawn all the same: the supervisors outlive the renderer that died."""
    with running_renderer(folder) as first:
        before = monitor(tmp_path / "before", first)
        log_steps(before, 3)
        first.says("attached")
        first.end(signal.SIGKILL)
    wait_for(lambda: state(tmp_path / "before") == "renderer stopped", "no end is told")
    log_steps(before, 2, first=3)
    assert before.close()["rendered"] == 3
    [warning] = caplog.messages
    assert "attnmon is off from now on" in warning
    with running_renderer(folder) as second:
        with monitor(tmp_path / "after", second) as after:
            log_steps(after, 2)
        assert after.close()["rendered"] == 2
    check_outputs(tmp_path / "after")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_renderer_first_finishes_what_was_announced(
    number: signal.Signals, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running_renderer(folder) as shared:
        watched = monitor(tmp_path, shared)
        log_steps(watched, 12)
        assert shared.end(number) == 0
        assert not shared.socket.exists()
    assert [line["metadata"]["step"] for line in history(tmp_path)] == list(range(12))
    assert summary(tmp_path)["state"] == "renderer stopped"
    log_steps(watched, 2, first=12)
    accounts = watched.close()
    assert (accounts["rendered"], accounts["failed"]) == (12, accounts["captured"] - 12)
    [warning] = caplog.messages
    assert "attnmon-renderer was stopped" in warning


def test_also_for_a_training_that_it_had_not_let_in_yet(folder: Path, tmp_path: Path) -> None:
    with running_renderer(folder) as shared:
        shared.process.send_signal(signal.SIGSTOP)
        watched = monitor(tmp_path, shared)
        log_steps(watched, 3)
        shared.process.send_signal(signal.SIGTERM)
        assert shared.end(signal.SIGCONT) == 0
    assert watched.close()["rendered"] == 3
    assert state(tmp_path) == "renderer stopped"


def test_without_grace_nothing_is_waited_for_and_that_is_said(folder: Path, tmp_path: Path) -> None:
    with running_renderer(folder, "--grace", "0") as shared:
        watched = monitor(tmp_path, shared)
        shared.says("attached")
        assert shared.end(signal.SIGTERM) == 1
        assert ": 0 captured, 0 rendered, 0 dropped, 0 failed" in shared.log
    watched.close()


def test_a_second_signal_ends_it_at_once_with_all_it_has_started(
    folder: Path, tmp_path: Path
) -> None:
    """Also with a worker that is stopped, and would never finish."""
    with running_renderer(folder) as shared:
        watched = monitor(tmp_path, shared)
        log_steps(watched, 1)
        wait_for(lambda: state(tmp_path) == "running", "nothing is written")
        pids = summary(tmp_path)["pids"]
        for pid in pids[1:]:
            os.kill(pid, signal.SIGSTOP)
        log_steps(watched, 3, first=1)
        shared.process.send_signal(signal.SIGTERM)
        shared.says("stopping")
        assert shared.end(signal.SIGTERM) == 1
        assert "not finished" in shared.log
        wait_for(lambda: not any(map(is_running, pids)), "a process is left")
    accounts = watched.close()
    assert accounts["captured"] == accounts["rendered"] + accounts["failed"]


def is_running(pid: int) -> bool:
    """Not gone, and not merely unburied."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def test_a_renderer_that_does_not_move_is_not_waited_for(folder: Path, tmp_path: Path) -> None:
    """Stopped, it lets a whole training pass by; once it moves again it draws that training."""
    with running_renderer(folder) as shared:
        shared.process.send_signal(signal.SIGSTOP)
        with monitor(tmp_path, shared, close_timeout=0.1) as watched:
            log_steps(watched, 3)
        assert watched.close()["pending"] == 3
        shared.process.send_signal(signal.SIGCONT)
        shared.says("closed: 3 captured, 3 rendered")
    check_outputs(tmp_path)


def test_it_serves_again_when_there_is_room_again(folder: Path, tmp_path: Path) -> None:
    """With no descriptor left it says so, once, and lives."""
    with running_renderer(folder) as shared:
        pid = shared.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        in_use = len(os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (in_use, before[1]))
        watched = monitor(tmp_path, shared)
        log_steps(watched, 1)
        shared.says("no room for another training")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        assert watched.close()["rendered"] == 1
        assert shared.log.count("no room") == 1


def test_a_ring_that_shrinks_under_it_hurts_its_own_training_only(
    folder: Path, tmp_path: Path
) -> None:
    """A page that is gone kills whoever reads it: the worker, and not the renderer."""
    with running_renderer(folder) as shared:
        watched = monitor(tmp_path / "good", shared)
        ring = os.memfd_create("ring")
        os.ftruncate(ring, SLOT_BYTES)
        (tmp_path / "bad").mkdir()
        setup = trial_capture._setup(tmp_path / "bad", SLOT_BYTES)
        with closing(Channel(rendezvous.connect(shared.socket))) as visitor:
            visitor.send(messages.encode(setup), [ring])
            shared.says(f"attached, writes to {tmp_path / 'bad'}")
            os.ftruncate(ring, 0)
            os.close(ring)
            visitor.send(messages.encode(trial_capture._capture()))
            shared.says("attached, writes to")
            select.select([visitor], [], [], PATIENCE)
            packet = visitor.receive()
            assert packet is not None
            answer = messages.decode(packet.data)
        assert isinstance(answer, messages.Acknowledgement)
        assert "worker" in answer.error
        log_steps(watched, 2)
        assert watched.close()["rendered"] == 2


def test_a_ring_smaller_than_it_is_said_to_be_is_refused(folder: Path, tmp_path: Path) -> None:
    with (
        running_renderer(folder) as shared,
        closing(Channel(rendezvous.connect(shared.socket))) as visitor,
    ):
        setup = trial_capture._setup(tmp_path, SLOT_BYTES)
        with open(os.devnull, "rb") as nothing:
            visitor.send(messages.encode(setup), [nothing.fileno()])
        shared.says("refused: the ring is smaller")


def test_where_there_are_no_packets_a_stream_does(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = (
        "import socket\nfrom attnmon.link import rendezvous\nrendezvous.KIND = socket.SOCK_STREAM"
    )
    monkeypatch.setattr(rendezvous, "KIND", socket.SOCK_STREAM)
    with running_renderer(folder, "--save-dir", str(tmp_path / "a"), before=stream) as shared:
        with monitor(tmp_path / "a" / "run", shared) as watched:
            log_steps(watched, 5)
        assert watched.close()["rendered"] == 5
        refused = monitor(tmp_path / "b", shared)
        shared.says("does not lie below")
        log_steps(refused, 1)
        assert not refused.enabled
        refused.close()


def test_only_below_save_dir_is_anything_written(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused even for a path that only looks as if it lay below; both sides are told why."""
    allowed, elsewhere = tmp_path / "allowed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with running_renderer(folder, "--save-dir", str(allowed)) as shared:
        (allowed / "detour").symlink_to(elsewhere)
        with monitor(allowed / "detour" / "run", shared) as refused:
            shared.says("does not lie below")
            log_steps(refused, 2)
        with monitor(allowed / "run", shared) as accepted:
            log_steps(accepted, 2)
        assert accepted.close()["rendered"] == 2
    assert list((elsewhere / "run").iterdir()) == []
    [warning] = caplog.messages
    assert "does not lie below" in warning
    assert "--save-dir" in warning


def test_a_refusal_is_heard_at_the_latest_when_closing(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running_renderer(folder, "--save-dir", str(tmp_path / "allowed")) as shared:
        watched = monitor(tmp_path / "elsewhere", shared)
        log_steps(watched, 1)
        shared.says("does not lie below")
        accounts = watched.close()
    assert accounts["captured"] == accounts["failed"]
    assert "does not lie below" in " ".join(caplog.messages)


@pytest.mark.parametrize("said", [b"", b"nonsense", b"\x00" * 60_000, b"\x93\x01\x02\xc0"])
def test_a_visitor_that_talks_nonsense_disturbs_nobody(
    said: bytes, folder: Path, tmp_path: Path
) -> None:
    with running_renderer(folder) as shared:
        watched = monitor(tmp_path, shared)
        log_steps(watched, 1)
        with rendezvous.connect(shared.socket) as visitor:
            if said:
                visitor.send(said)
        shared.says("2: refused: the first message" if said else "2: went away")
        log_steps(watched, 1, first=1)
        assert watched.close()["rendered"] == 2
        assert shared.process.poll() is None


def test_it_loads_no_numerics_before_it_forks_and_keeps_to_its_processors(folder: Path) -> None:
    cpu = min(os.sched_getaffinity(0))
    with running_renderer(folder, "--cpus", str(cpu)) as shared:
        status = Path(f"/proc/{shared.process.pid}/status").read_text()
        assert f"Cpus_allowed_list:\t{cpu}\n" in status
        assert "Threads:\t1\n" in status
        mapped = Path(f"/proc/{shared.process.pid}/maps").read_text()
        assert not any(name in mapped for name in ("numpy", "matplotlib", "torch"))
        # Workers lower their own priority; none could raise it again.
        assert os.sched_getscheduler(shared.process.pid) == os.sched_getscheduler(0)
