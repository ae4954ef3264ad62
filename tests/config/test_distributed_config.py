"""Ranks: found without asking the other processes, and each writes where it should."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from support.models import LanguageModel, batch
from support.outputs import check_outputs, history, summary
from support.tapping import is_watched

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
from attnmon.config.distributed import ProcessRank, find_process_rank

TORCHRUN = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "8"}
LIGHTNING = {"LOCAL_RANK": "1", "WORLD_SIZE": "2"}
SLURM = {"SLURM_PROCID": "5", "SLURM_NTASKS": "6"}
JSM = {"JSM_NAMESPACE_RANK": "2", "JSM_NAMESPACE_SIZE": "4"}
MPI = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}
EVERY_VARIABLE = TORCHRUN | LIGHTNING | SLURM | JSM | MPI


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in EVERY_VARIABLE:
        monkeypatch.delenv(name, raising=False)


def launch(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ProcessRank(0, 1)),
        (TORCHRUN, ProcessRank(3, 8)),
        (LIGHTNING, ProcessRank(1, 2)),
        (SLURM, ProcessRank(5, 6)),
        (JSM, ProcessRank(2, 4)),
        (MPI, ProcessRank(1, 2)),
        (MPI | JSM | SLURM | TORCHRUN, ProcessRank(3, 8)),
        (MPI | JSM | SLURM, ProcessRank(5, 6)),
        (MPI | JSM, ProcessRank(2, 4)),
        ({"RANK": "2"}, ProcessRank(2, 3)),
        ({"RANK": "", "LOCAL_RANK": "-1", **SLURM}, ProcessRank(5, 6)),
        ({"RANK": "one"}, ProcessRank(0, 1)),
    ],
    ids=lambda given: "-".join(given) if isinstance(given, dict) else "",
)
def test_launchers_are_understood_in_their_order(
    variables: dict[str, str], expected: ProcessRank, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch(monkeypatch, variables)
    assert find_process_rank() == expected


def test_torch_distributed_goes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    launch(monkeypatch, SLURM | MPI)
    dist.init_process_group("gloo", f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        assert find_process_rank() == ProcessRank(0, 1)
        assert find_process_rank(rank=4) == ProcessRank(4, 5)
    finally:
        dist.destroy_process_group()
    assert find_process_rank() == ProcessRank(5, 6)


def test_an_argument_goes_before_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    launch(monkeypatch, TORCHRUN)
    assert find_process_rank(rank=0) == ProcessRank(0, 8)


def watch(monitor: Any) -> dict[str, Any]:
    model = LanguageModel()
    for step in range(3):
        monitor.log_attention(model, batch(), step=step)
    accounts: dict[str, Any] = monitor.close()
    return accounts


@pytest.mark.parametrize("options", [{}, {"ranks": [0, 2]}, {"ranks": 0}])
@pytest.mark.parametrize("kind", [TrainingAttentionMonitor, LightweightAttentionMonitor])
def test_a_process_that_was_not_chosen_makes_nothing_and_says_nothing(
    kind: Any,
    options: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    launch(monkeypatch, TORCHRUN)
    descriptors = set(os.listdir("/proc/self/fd"))
    monitor = kind(tmp_path / "logs", 1, **options)
    assert set(os.listdir("/proc/self/fd")) == descriptors, "neither a ring nor a channel"
    model = LanguageModel()
    monitor.attach(model)
    assert not monitor.enabled
    assert not is_watched(model)
    accounts = watch(monitor)
    assert {accounts[name] for name in ("captured", "rendered", "dropped", "failed")} == {0}
    assert not (tmp_path / "logs").exists()
    assert caplog.messages == []


def test_ranks_that_are_not_there_are_an_error_on_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch(monkeypatch, TORCHRUN)
    with pytest.raises(ValueError, match=r"ranks=\[8, 9\]: there are only the ranks 0 … 7"):
        LightweightAttentionMonitor(tmp_path / "logs", ranks=[8, 9])
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("ranks", ["all", [3], [1, 3]])
def test_each_of_several_processes_writes_into_its_own_folder(
    ranks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch(monkeypatch, TORCHRUN)
    accounts = watch(LightweightAttentionMonitor(tmp_path, 1, ranks=ranks, capture="probe"))
    folder = tmp_path / "rank_00003"
    assert accounts["save_dir"] == str(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["rank_00003"]
    assert (summary(folder)["rank"], summary(folder)["world_size"]) == (3, 8)
    assert [line["metadata"]["rank"] for line in history(folder)] == [3, 3, 3]
    check_outputs(folder)


def test_the_folder_above_theirs_is_for_its_owner_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch(monkeypatch, TORCHRUN)
    LightweightAttentionMonitor(tmp_path / "run", ranks="all", mode=0o750).close()
    made = (tmp_path / "run", tmp_path / "run" / "rank_00003")
    assert [folder.stat().st_mode & 0o777 for folder in made] == [0o750, 0o750]


def test_the_first_process_writes_where_it_always_did_and_says_which_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch(monkeypatch, TORCHRUN)
    watch(LightweightAttentionMonitor(tmp_path, 1, rank=0, capture="probe"))
    assert history(tmp_path)[0]["metadata"]["rank"] == 0
    assert (summary(tmp_path)["rank"], summary(tmp_path)["world_size"]) == (0, 8)


def test_a_training_of_one_process_says_nothing_of_ranks(tmp_path: Path) -> None:
    watch(LightweightAttentionMonitor(tmp_path, 1, capture="probe"))
    assert "rank" not in summary(tmp_path)
    assert "rank" not in history(tmp_path)[0]["metadata"]
