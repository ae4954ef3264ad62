"""The script that disturbs trainings finds no violation, and its checks can find one."""

import json
import subprocess
import sys
import threading
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest
from support.project import SCRIPTS


@pytest.mark.timeout(300)  # it waits for many processes, on whatever the machine has left
def test_some_kills_of_each_kind_violate_nothing(tmp_path: Path) -> None:
    written = tmp_path / "figures.json"
    done = subprocess.run(
        [
            sys.executable, str(SCRIPTS / "chaos.py"), "--seed", "1", "--worker-kills", "2",
            "--trainer-kills", "1", "--quick", "--json", str(written),
        ],
        capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(written.read_text())
    assert figures["violations"] == []
    faults = figures["faults"]
    assert faults.get("worker killed", 0) + faults.get("recorder killed", 0) >= 2
    assert faults["training killed"] == 1
    assert "nothing was violated" in done.stdout


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from chaoslib import checks

    return checks


def test_what_is_violated_is_found(checks: object, tmp_path: Path) -> None:
    """Runs each check on a run with one thing wrong."""
    from chaoslib.checks import accounts, captures, files

    summary = {"captured": 3, "rendered": 1, "dropped": 1, "failed": 0, "trainer_pid": 7}
    ended = {"state": "closed", "pids": []}
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(summary | ended))
    assert "1 rendered" in next(accounts(tmp_path, 7, 3))
    path.write_text(json.dumps(summary | ended | {"failed": 1}))
    assert list(accounts(tmp_path, 7, 3)) == []
    assert "no summary" in next(accounts(tmp_path, 8, 3))
    assert "1 count as rendered, and 0 are there" in next(captures(tmp_path, 0))
    (tmp_path / "history.jsonl").write_text('{"torn')
    assert "no JSON" in next(captures(tmp_path, 0))
    (tmp_path / "half.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / ".a.png.1.tmp").touch()
    assert sorted(violation.split(":")[0] for violation in files(tmp_path)) == ["half.png", "left"]


@pytest.mark.serial  # no other test may make a name in shared memory meanwhile
def test_what_stays_is_left_behind(
    checks: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chaoslib.checks import left_behind

    monkeypatch.setattr(checks, "OTHERS_SECONDS", 1.0)
    segment = SharedMemory(create=True, size=1)
    threading.Timer(0.3, lambda: (segment.unlink(), segment.close())).start()
    assert list(left_behind(tmp_path)) == []
    (tmp_path / "attnmon-x").touch()
    assert list(left_behind(tmp_path)) == ["left behind: ['attnmon-x']"]
