"""Two groups of runs: whether they differ by more than runs of one group do."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.compared_runs import write_wandering
from support.outputs import strict_json

from attnmon_renderer.compare import verdicts
from attnmon_renderer.compare.group_comparison import compare_groups


def compared(a: list[Path], b: list[Path]) -> dict[str, Any]:
    found: dict[str, Any] = strict_json(json.dumps(compare_groups(a, b).to_json()))
    return found


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight tries of the same thing, whose heads are of other kinds; to be read only."""
    folder = tmp_path_factory.mktemp("seeds")
    return [
        write_wandering(folder / str(seed), seed, kind=seed, config={"lr": 1, "seed": seed})
        for seed in range(8)
    ]


@pytest.fixture(scope="module")
def sharp(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sharp")
    return [
        write_wandering(folder / str(seed), seed, 1.5, kind=seed, config={"lr": 2, "seed": seed})
        for seed in range(4)
    ]


def test_other_seeds_are_no_difference(seeds: list[Path]) -> None:
    found = compared(seeds[:4], seeds[4:])
    assert (found["verdict"], found["comparable"]) == (verdicts.WITHIN, True)
    assert found["test"]["smallest_p"] == pytest.approx(2 / 70)
    assert "the smallest that 4 against 4 runs can give is 0.029" in found["reason"]
    assert found["settings"] == {"config.seed": [[0, 1, 2, 3], [4, 5, 6, 7]]}
    assert found["matching"] is None


def test_sharper_attention_in_all_runs_of_a_group_is(seeds: list[Path], sharp: list[Path]) -> None:
    found = compared(seeds[4:], sharp)
    assert (found["verdict"], found["test"]["p"]) == (verdicts.GROUPS_DIFFER, 2 / 70)
    assert found["score"] == found["test"]["effect"] > 0.3 > found["test"]["expected"]
    assert found["settings"]["config.lr"] == [1, 2]
    row = next(row for row in found["layers"] if row["statistic"] == "entropy")
    assert (row["head"], row["delta"] < 0, row["times"] > 2) == (None, True, True)


def test_three_against_three_can_show_nothing_and_say_so(
    seeds: list[Path], sharp: list[Path]
) -> None:
    found = compared(seeds[4:7], sharp[:3])
    assert (found["verdict"], found["comparable"]) == (verdicts.NOT_COMPARABLE, False)
    assert "3 against 3 runs are too few" in found["reason"]


def test_one_seed_counted_several_times_is_no_evidence(
    seeds: list[Path], sharp: list[Path], tmp_path: Path
) -> None:
    again = write_wandering(tmp_path / "again", 0, 1.5, kind=0)
    found = compared(seeds[:4], [*sharp[:3], again])
    assert found["verdict"] == verdicts.NOT_COMPARABLE
    assert "more than once (B4)" in found["reason"]
    with pytest.raises(ValueError, match="given twice"):
        compare_groups(seeds[:4], [seeds[0], *sharp[1:]])
    with pytest.raises(ValueError, match="empty"):
        compare_groups(seeds, [])


def test_copies_of_one_run_are_identical(tmp_path: Path) -> None:
    copies = [write_wandering(tmp_path / str(number), 1) for number in range(8)]
    found = compared(copies[:4], copies[4:])
    assert found["verdict"] == verdicts.IDENTICAL
    assert {row["delta"] for row in found["layers"]} == {0}


def test_another_text_in_one_run_is_not_comparable(seeds: list[Path], tmp_path: Path) -> None:
    other = write_wandering(tmp_path / "other", 9, tokens={"decoder": ["word"] * 24})
    found = compared(seeds[:4], [*seeds[4:7], other])
    assert found["verdict"] == verdicts.NOT_COMPARABLE
    assert "tokens are not the same" in found["reason"]
