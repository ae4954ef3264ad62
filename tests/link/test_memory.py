"""How much memory there is: the machine's, or less, where a control group says so."""

from pathlib import Path

import pytest

from attnmon.link.memory import available
from attnmon.link.memory.available import available_memory


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """5000 kB are free on it."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 5000 kB\n")
    monkeypatch.setattr(available, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(available, "_GROUPS", tmp_path / "cgroup")
    return tmp_path


def group(path: Path, limit: str, usage: str, files: tuple[str, str]) -> None:
    path.mkdir(parents=True, exist_ok=True)
    for name, figure in zip(files, (limit, usage), strict=True):
        (path / name).write_text(f"{figure}\n")


NEW = ("memory.max", "memory.current")
OLD = ("memory.limit_in_bytes", "memory.usage_in_bytes")


def test_what_the_machine_has_free(machine: Path) -> None:
    assert available_memory() == 5000 * 1024


def test_a_containers_own_limit(machine: Path) -> None:
    group(machine / "cgroup", "1000", "400", NEW)
    (machine / "proc/self/cgroup").write_text("0::/\n")
    assert available_memory() == 600


def test_the_limit_of_any_group_around_it(machine: Path) -> None:
    """A job's limit, on a cluster: neither at the root, nor in the group of the process itself."""
    (machine / "proc/self/cgroup").write_text("0::/slurm/job_1/step_0\n")
    group(machine / "cgroup/slurm/job_1", "3000", "1000", NEW)
    group(machine / "cgroup/slurm/job_1/step_0", "max", "1000", NEW)
    assert available_memory() == 2000


def test_the_older_kind_of_groups(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("5:cpu:/elsewhere\n4:memory:/job/7\n0::/\n")
    group(machine / "cgroup/memory/job/7", "3000", "500", OLD)
    group(machine / "cgroup/memory/job", "9223372036854771712", "500", OLD)
    assert available_memory() == 2500


def test_a_machine_that_tells_nothing(machine: Path) -> None:
    (machine / "proc/meminfo").unlink()
    assert available_memory() > 1 << 60
