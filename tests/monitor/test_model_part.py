"""A process that holds a part of a model says so, once; where maps would be wrong it shows none."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from attnmon.accounting.error_guard import ErrorGuard
from attnmon.config.settings import checked_settings, prepare_run
from attnmon.monitor.model_part import ModelPart


def part(tmp_path: Path, places: dict[str, Any], **options: Any) -> ErrorGuard:
    guard = ErrorGuard()
    options = {"coordinates": places, "rank": 0, **options}
    settings = checked_settings(options=options, save_dir=tmp_path)
    told = ModelPart(settings, guard)
    for _ in range(2):
        told.tell(nn.Linear(1, 1))
    return guard


@pytest.fixture(autouse=True)
def several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "8")


def test_what_is_not_seen_is_said_once(tmp_path: Path) -> None:
    guard = part(tmp_path, {"pp": (0, 2), "tp": (0, 4)})
    (warning,) = guard.remarks.warnings
    assert "pipeline stage 0 of 2, tensor rank 0 of 4" in warning
    assert "layers and heads of the other processes are not" in warning
    assert 'ranks="model"' in warning


def test_a_whole_model_is_nothing_to_say(tmp_path: Path) -> None:
    assert part(tmp_path, {"dp": (0, 8)}).remarks.warnings == ()
    assert part(tmp_path, {"pp": (0, 2)}, ranks="model").remarks.warnings == ()


def test_context_parallelism_is_not_shown(tmp_path: Path) -> None:
    guard = part(tmp_path, {"cp": (0, 2)})
    assert "not shown under context parallelism" in guard.off


def test_a_place_that_nobody_knows_is_asked_for(tmp_path: Path) -> None:
    settings = checked_settings(options={"ranks": "model", "rank": 0}, save_dir=tmp_path)
    with pytest.raises(ValueError, match=r'coordinates=\{"pp"'):
        prepare_run(settings)


def test_processes_of_other_replicas_are_not_watched(tmp_path: Path) -> None:
    options = {"ranks": "model", "rank": 3, "coordinates": {"dp": (1, 2), "tp": (0, 4)}}
    assert not checked_settings(options=options, save_dir=tmp_path).rank_is_selected
