"""Who may read what a run has written: its owner only, or the group that `mode` lets in."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.models import LanguageModel, batch
from support.outputs import summary

from attnmon import TrainingAttentionMonitor


@pytest.fixture(params=[0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> tuple[set[int], set[int]]:
    """Returns the modes of all folders, `folder` included, and of all files."""
    paths = [folder, *folder.rglob("*")]
    folders = {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()}
    return folders, {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()}


def run(folder: Path, **options: Any) -> None:
    with TrainingAttentionMonitor(folder, 1, save_raw_weights=True, **options) as monitor:
        monitor.log_attention(LanguageModel(), batch(), step=0)
    assert summary(folder)["rendered"] == 1


@pytest.mark.usefixtures("umask")
def test_it_decides_whatever_the_umask_is(tmp_path: Path) -> None:
    run(tmp_path / "run", mode=0o750)
    assert modes(tmp_path / "run") == ({0o750}, {0o640})
    assert os.umask(os.umask(0)) != 0o777 & ~0o750, "the training's own is as it was"


def test_a_folder_is_shared_with_the_group_of_the_folder_above(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    os.chown(shared, -1, group := another_group())
    shared.chmod(0o2770)
    run(shared / "run", mode=0o770)
    run(shared, mode=0o770)
    assert modes(shared) == ({0o2770}, {0o660})
    assert {path.stat().st_gid for path in shared.rglob("*")} == {group}


def another_group() -> int:
    """Returns a group that files may be given to, and that is not the usual one if possible."""
    others = [group for group in os.getgroups() if group != os.getgid()]
    return 12345 if os.geteuid() == 0 else others[0] if others else os.getgid()


def test_without_it_nobody_else_is_let_in(tmp_path: Path) -> None:
    run(tmp_path / "run")
    assert modes(tmp_path / "run") == ({0o700}, {0o600})


@pytest.mark.parametrize("mode", [0o777, 0o600, 770, 0o4755, True, "0o750"])
def test_what_is_no_such_mode_is_refused(mode: Any, tmp_path: Path) -> None:
    with pytest.raises((TypeError, ValueError), match="mode="):
        TrainingAttentionMonitor(tmp_path, mode=mode)
