"""The parts of a redraw draw together what one call would, each picture once."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.guide import GUIDE
from support.stored_run import train_with_raw_weights

from attnmon_renderer.commands import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train_with_raw_weights(folder)
    return folder


def drawn(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


KINDS = ("--kinds", "heatmap", "animation", "difference")


def test_parts_are_the_whole(run: Path, tmp_path: Path) -> None:
    assert main(["render", str(run), "--out", str(tmp_path / "all"), "--jobs", "1", *KINDS]) == 0
    found: dict[str, bytes] = {}
    for part in range(3):
        out = tmp_path / str(part)
        arguments = ["--out", str(out), "--jobs", "1", "--shard", f"{part}/3"]
        assert main(["render", str(run), *arguments, *KINDS]) == 0
        assert not found.keys() & drawn(out).keys()
        found |= drawn(out)
    assert found == drawn(tmp_path / "all")


def test_a_part_with_nothing_to_draw_is_no_error(run: Path, tmp_path: Path) -> None:
    assert main(["render", str(run), "--out", str(tmp_path), "--shard", "99/100"]) == 0


@pytest.mark.parametrize("given", ["3", "3/3", "a/b", "-1/2", "1/0"])
def test_what_is_no_part_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    with pytest.raises(SystemExit):
        main(["render", str(run), f"--shard={given}"])
    assert "0/8 to 7/8" in capsys.readouterr().err


def test_the_guide_s_lines_for_dask_draw_all(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dask", reason="dask is not installed")
    (tmp_path / "attn_logs").symlink_to(run)
    command = tmp_path / "attnmon"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m attnmon "$@" --out drawn --jobs 1\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    code = GUIDE.read_text().partition("With Dask:\n\n```python\n")[2].partition("```")[0]
    ran = subprocess.run(
        [sys.executable, "-c", code.replace("/8", "/2").replace("range(8)", "range(2)")],
        cwd=tmp_path, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert len({name.partition("/")[0] for name in drawn(tmp_path / "drawn")}) == 3
