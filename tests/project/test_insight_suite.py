"""The suite by which the alerts are judged, in its quick form: three short trainings."""

from pathlib import Path

from support.forked_script import run_file
from support.project import SCRIPTS


def test_what_is_known_of_three_trainings_is_told(tmp_path: Path) -> None:
    done = run_file(SCRIPTS / "insight_suite.py", "--quick", "--runs", str(tmp_path), timeout=110)
    assert (done.returncode, done.stdout.count("ok: ")) == (0, 3), done.stdout + done.stderr
