"""The look at the machine after each test sees every kind of thing that a test can leave."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.project import TESTS

pytestmark = pytest.mark.serial  # it leaves things behind that the look after other tests would see

TWO_PROCESSES = ("-n", "2", "--dist", "worksteal")
IMPORTS = """
import mmap, os, socket, subprocess, sys, tempfile, threading
from multiprocessing.resource_tracker import unregister
from multiprocessing.shared_memory import SharedMemory
"""
TIDY = """
import pytest

def test_tidy(tmp_path):
    import torch
    torch.ones(300, 300) @ torch.ones(300, 300)  # its threads stay, and are nobody's leftover
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    with tempfile.NamedTemporaryFile(), socket.socket():
        (tmp_path / "kept").touch()
    segment = SharedMemory(create=True, size=4096)
    segment.unlink()
    segment.close()


def test_tidy_in_the_end():
    late = subprocess.Popen(["sleep", "0.2"])
    threading.Thread(target=late.wait).start()


def test_cycle():
    cycle = [socket.socket()]
    cycle.append(cycle)


@pytest.fixture(scope="session")
def shared():
    with socket.socket() as one:
        yield one


@pytest.mark.parametrize("time", range(2))
def test_shared(shared, time):
    assert shared.fileno() > 0


@pytest.fixture(scope="module")
def shell():
    with subprocess.Popen(["sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as one:
        yield one


def test_a_shared_process_is_there(shell):
    assert shell.poll() is None


def test_of_the_shared_process(shell):
    shell.stdin.write(b"sleep 64.25 > /dev/null & echo $!\\n")
    shell.stdin.flush()
    started = int(shell.stdout.readline())
    shell.stdin.write(b"trap 'kill %d' EXIT\\n" % started)
    shell.stdin.flush()
"""

UNTIDY = """
kept, strangers = [], []

def test_process():
    kept.append(subprocess.Popen(["sleep", "60.25"]))

def test_orphan():
    subprocess.run(["sh", "-c", "sleep 61.25 & exit"], start_new_session=True, check=True)

def test_zombie():
    kept.append(os.posix_spawn("/bin/true", ["true"], {}))

def test_segment():
    segment = SharedMemory(create=True, size=4096)
    unregister(segment._name, "shared_memory")
    segment.close()
    kept.append(segment.name)

def test_nameless():
    descriptor = os.memfd_create("nameless")
    os.truncate(descriptor, 4096)
    kept.append(mmap.mmap(descriptor, 4096))
    os.close(descriptor)

def test_socket():
    kept.append(socket.socketpair())

def test_held_by_a_stranger():
    path = f"/dev/shm/stranger_{os.getpid()}"
    script = f"exec env -i sleep 63.25 3<>{path} >/dev/null & echo $!"
    stranger = int(subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE).stdout)
    while not os.path.exists(path): pass
    strangers.append(stranger)
    kept.append(os.path.basename(path))

def test_descriptor():
    kept.append(os.open("/dev/zero", os.O_RDONLY))

def test_failing():
    kept.append(subprocess.Popen(["sleep", "62.25"]))
    kept.append(socket.socket())
    assert not kept

def test_search_path():
    sys.path.append("/nowhere")

def test_file():
    tempfile.mkstemp()

def test_directory():
    tempfile.mkdtemp()

def teardown_module():
    for made in kept:
        if isinstance(made, str):
            os.unlink(f"/dev/shm/{made}")
    for stranger in strangers:
        os.kill(stranger, 9)
"""


SIDE_BY_SIDE = """
import pytest, time
from pathlib import Path

HERE = Path(__file__).parent

def wait_for(name):
    deadline = time.monotonic() + 30
    while not (HERE / name).exists():
        assert time.monotonic() < deadline, name
        time.sleep(0.01)

def test_holds_a_segment():
    wait_for("begun")
    segment = SharedMemory(create=True, size=4096)
    (HERE / "made").touch()
    wait_for("looked")
    segment.unlink()
    segment.close()

@pytest.fixture(scope="module")
def tells_when_the_machine_was_looked_at():
    yield
    (HERE / "looked").touch()

def test_beside_it(tells_when_the_machine_was_looked_at):
    (HERE / "begun").touch()
    wait_for("made")
"""


def errors(directory: Path, tests: str, *options: str) -> dict[str, str]:
    """Runs the tests in a pytest of their own, under our conftest; returns its errors by test."""
    conftest = (TESTS / "conftest.py").read_text()
    (directory / "tests").mkdir()  # as ours: what is in the root folder's conftest hears of more
    (directory / "tests/conftest.py").write_text(conftest + "\nGRACE_SECONDS = 0.4\n")
    (directory / "tests/test_it.py").write_text(IMPORTS + tests)
    command = [sys.executable, "-m", "pytest", "tests", "--rootdir=.", "--basetemp=temporary"]
    command += ["--junit-xml=report.xml"]
    command += ["-o", f"pythonpath={TESTS}", *options]
    subprocess.run(command, cwd=directory, capture_output=True, timeout=60)
    cases = ElementTree.parse(directory / "report.xml").iter("testcase")
    return {
        str(case.get("name")): "".join(part.get("message") or "" for part in case) for case in cases
    }


@pytest.fixture(scope="module", params=["alone", "beside another"])
def untidy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    options = TWO_PROCESSES if request.param == "beside another" else ()
    return errors(tmp_path_factory.mktemp("untidy"), UNTIDY, *options)


def test_what_another_test_process_holds_is_no_leftover(tmp_path: Path) -> None:
    found = errors(tmp_path, SIDE_BY_SIDE, *TWO_PROCESSES)
    assert found == {"test_holds_a_segment": "", "test_beside_it": ""}


def test_a_test_that_cleans_up_passes(tmp_path: Path) -> None:
    assert errors(tmp_path, TIDY) == {
        "test_tidy": "", "test_tidy_in_the_end": "", "test_cycle": "",
        "test_shared[0]": "", "test_shared[1]": "",
        "test_a_shared_process_is_there": "", "test_of_the_shared_process": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("test", "left"),
    [
        ("test_process", "process"),
        ("test_orphan", "process"),
        ("test_zombie", "process"),
        ("test_segment", "shared memory /dev/shm/psm_"),
        ("test_held_by_a_stranger", "shared memory /dev/shm/stranger_"),
        ("test_nameless", "mapping of /memfd:nameless (deleted)"),
        ("test_socket", "socket:["),
        ("test_descriptor", "/dev/zero"),
        ("test_search_path", "search path /nowhere"),
        ("test_file", "temporary file tmp"),
        ("test_directory", "temporary file tmp"),
    ],
)
def test_what_is_left_fails_the_test(untidy: dict[str, str], test: str, left: str) -> None:
    message = untidy[test]
    assert "the test left behind:" in message
    assert left in message


def test_a_test_that_fails_is_not_blamed_twice(untidy: dict[str, str]) -> None:
    assert "assert not" in untidy["test_failing"]
    assert "left behind" not in untidy["test_failing"]


def test_processes_left_behind_are_named_and_ended(untidy: dict[str, str]) -> None:
    assert "sleep 60.25" in untidy["test_process"]
    assert "sleep 61.25" in untidy["test_orphan"]
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert not [command for command in running if re.match(rb"sleep\x006[012]\.25", command)]
