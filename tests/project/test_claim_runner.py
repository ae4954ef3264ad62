"""What checks a device: a claim that dies, hangs or breaks it costs itself alone."""

import sys
from pathlib import Path

import pytest
from support.project import SCRIPTS

SCRIPT = f"""
import os, sys, time
sys.path.insert(0, {str(SCRIPTS)!r})
from benchlib.claim_runner import check_here
broken = []
def holds(): return True, "as it should be"
def raises(): raise ValueError("no such layer")
def dies(): os._exit(3)
def hangs(): time.sleep(600)
def breaks(): broken.append(1); return True, "at first"
def is_sound(): assert not broken, "an illegal address"
checks = [holds, raises, dies, hangs, breaks, holds]
check_here(checks, sys.argv[2], int(sys.argv[4]), is_sound)
"""


def test_each_claim_costs_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from benchlib.claim_runner import checked_apart

    script = tmp_path / "claims.py"
    script.write_text(SCRIPT)
    names = ["holds", "raises", "dies", "hangs", "breaks", "is reached"]
    rows = list(checked_apart(str(script), names, each=3, in_all=100))
    assert [row["claim"] for row in rows] == names
    assert [row["holds"] for row in rows] == [True, False, False, False, False, True]
    for row, what in zip(
        rows, ["be", "no such layer", "ended with 3", "still running"], strict=False
    ):
        assert what in row["measured"]
    assert "an illegal address" in rows[4]["measured"]
    assert list(checked_apart(str(script), ["holds"], each=3, in_all=0)) == [
        {"claim": "holds", "holds": None, "measured": "no time"}
    ]
    sys.modules.pop("benchlib.claim_runner")
    sys.modules.pop("benchlib")
