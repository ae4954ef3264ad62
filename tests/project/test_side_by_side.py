"""Tests that run side by side are told of as those that run one by one, whatever ends them."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.project import TESTS

pytestmark = pytest.mark.serial  # the look after its tests would see what others leave

SUITE = """
import os, pytest, signal

def test_passes(tmp_path, capfd):
    os.write(1, b"written")
    assert capfd.readouterr().out == "written"

def test_fails():
    print("said before")
    assert 1 == 2

@pytest.mark.skip(reason="as it should be")
def test_skipped(): pass

def test_kills_its_process():
    os.kill(os.getpid(), signal.SIGKILL)

@pytest.mark.parametrize("number", range(9))
def test_others(number): pass
"""


def test_no_test_is_lost_with_its_process(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "--processes=3", "--junit-xml=report.xml"]
    command += ["--basetemp=temporary", "-o", f"pythonpath={TESTS}"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1, ran.stdout
    cases = ElementTree.parse(tmp_path / "report.xml").iter("testcase")
    found = {str(case.get("name")): [part.tag for part in case] for case in cases}
    assert found.keys() == {
        "test_passes", "test_fails", "test_skipped", "test_kills_its_process",
        *(f"test_others[{number}]" for number in range(9)),
    }  # fmt: skip
    assert found["test_passes"] == []
    assert "failure" in found["test_fails"]
    assert "said before" in ran.stdout
    assert found["test_skipped"] == ["skipped"]
    assert found["test_kills_its_process"] == ["failure"]
    assert "ended by signal SIGKILL in test_it.py::test_kills_its_process" in ran.stdout
