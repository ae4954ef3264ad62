"""The suite by which the alerts are judged, in its quick form: three short trainings."""

import os
import subprocess
import sys
from pathlib import Path

from support.project import PROJECT

SUITE = PROJECT / "scripts" / "insight_suite.py"


def test_what_is_known_of_three_trainings_is_told(tmp_path: Path) -> None:
    folders = (PROJECT, PROJECT / "renderer", os.environ.get("PYTHONPATH", ""))
    done = subprocess.run(
        [sys.executable, str(SUITE), "--quick", "--runs", str(tmp_path)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))},
        check=False,
    )
    assert (done.returncode, done.stdout.count("ok: ")) == (0, 3), done.stdout + done.stderr
