"""Two runs are compared from their files alone: what differs, and what cannot be told."""

import contextlib
import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from support.compared_runs import HEADS, STEPS, TOKENS, wandering, write_wandering
from support.fuzzing import (
    flipped_bits,
    other_bytes,
    truncated,
    with_a_part_again,
    without_a_part,
)
from support.maps import write_maps, write_run
from support.outputs import strict_json

from attnmon_renderer.compare import verdicts
from attnmon_renderer.compare.comparison import compare_runs
from attnmon_renderer.compare.settings_difference import differing
from attnmon_renderer.storage.run_reader import NoRun


def compared(a: Path, b: Path, *where: Any) -> dict[str, Any]:
    """Returns what is printed as JSON, which is strict."""
    found: dict[str, Any] = strict_json(json.dumps(compare_runs(a, b, *where).to_json()))
    return found


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, to be read only."""
    config = {"lr": 0.1, "model": {"layers": 2}, "seed": 1}
    return write_wandering(tmp_path_factory.mktemp("runs") / "first", 1, config=config)


def test_one_run_twice_is_identical_and_every_delta_is_exactly_zero(
    first: Path, tmp_path: Path
) -> None:
    found = compared(first, write_wandering(tmp_path / "again", 1, config={"lr": 0.1}))
    assert (found["verdict"], found["comparable"], found["why"]) == (verdicts.IDENTICAL, True, [])
    assert {row["delta"] for row in found["layers"]} == {0.0}
    assert len(found["layers"]) == 2 * (HEADS + 4)
    assert (found["matching"]["numbered"], found["matching"]["moved"]) == (0, 0)
    assert found["score"] == 0


def test_another_try_of_the_same_thing_is_within_its_wobble(first: Path, tmp_path: Path) -> None:
    found = compared(first, write_wandering(tmp_path / "other", 2))
    assert found["verdict"] == verdicts.WITHIN
    assert 0 < found["score"] <= 1
    assert (found["at"], found["a"][0]["step"]) == (1100, 1100)
    row = found["layers"][0]
    assert row.keys() >= {"role", "layer", "head", "statistic", "a", "b", "delta"}
    assert row["delta"] == pytest.approx(row["b"] - row["a"])
    times = [row["times"] for row in found["layers"]]
    assert times == sorted(times, reverse=True)


def test_sharper_attention_differs(first: Path, tmp_path: Path) -> None:
    found = compared(first, write_wandering(tmp_path / "sharp", 2, sharpness=2.5))
    assert found["verdict"] == verdicts.DIFFERS
    assert found["score"] > 1
    assert "seed alone" in found["reason"]
    assert found["layers"][0]["statistic"] in ("entropy", "std", "max")


def test_other_maps_of_the_same_entropy_differ_too(first: Path, tmp_path: Path) -> None:
    """Numbers alone would not tell: each head's queries see the keys in another order."""
    captures = {
        step: {stem: np.take(each, range(HEADS)[::-1], 0) for stem, each in layers.items()}
        for step, layers in wandering(2).items()
    }
    found = compared(first, write_run(tmp_path / "other", captures, tokens=TOKENS))
    assert found["verdict"] == verdicts.DIFFERS
    assert found["matching"]["numbered"] > 2 * found["matching"]["wobble"]


def test_heads_in_another_order_are_matched_and_said_to_have_moved(
    first: Path, tmp_path: Path
) -> None:
    order = [3, 0, 1, 2, 5, 4]
    captures = {
        step: {stem: each[order] for stem, each in layers.items()}
        for step, layers in wandering(2).items()
    }
    found = compared(first, write_run(tmp_path / "permuted", captures, tokens=TOKENS))
    matching = found["matching"]
    assert (matching["moved"], matching["heads"]) == (2 * HEADS, 2 * HEADS)
    for layer in matching["layers"]:
        assert [order[head["b"]] for head in layer["heads"]] == list(range(HEADS))
    assert matching["matched"] < 0.3 * matching["numbered"]
    assert not matching["at_least"]


def test_of_pooled_maps_the_distance_is_said_to_be_at_least_that(tmp_path: Path) -> None:
    a, b = (write_wandering(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 2)))
    whole = compared(a, b)["matching"]["numbered"]
    for folder, seed in ((a, 1), (b, 2)):
        for step, layers in wandering(seed).items():
            path = folder / f"step_{step}" / "maps.safetensors"
            write_maps(path, step, layers, tokens=TOKENS, side=8)
    pooled = compared(a, b)["matching"]
    assert pooled["at_least"]
    assert 0 < pooled["numbered"] < whole


# What cannot be compared


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"tokens": {"decoder": list("abcdefghijklmnopqrstuvwx")}}, "tokens are not the same"),
        ({"length": 20, "tokens": None}, "A has queries × keys 24 × 24, B"),
        ({"tokens": None, "start": {"probe": "0123"}}, "not all were given the same probe="),
    ],
)
def test_another_text_is_not_comparable_and_the_numbers_are_shown_all_the_same(
    other: dict[str, Any], words: str, tmp_path: Path
) -> None:
    probe = {"start": {"probe": "4567"}} if "start" in other else {}
    first = write_wandering(tmp_path / "first", 1, **probe)
    found = compared(first, write_wandering(tmp_path / "other", 2, **other))
    assert (found["verdict"], found["comparable"]) == (verdicts.NOT_COMPARABLE, False)
    assert words in found["reason"]
    assert found["parts"] == {
        "settings": True, "curves": True, "statistics": False, "maps": False
    }  # fmt: skip
    assert found["matching"] is None
    assert found["layers"]
    assert found["curves"]


def test_the_same_probe_is_the_same_text(tmp_path: Path) -> None:
    probe: Any = {"tokens": None, "start": {"probe": "4567"}}
    a, b = (write_wandering(tmp_path / str(seed), seed, **probe) for seed in (1, 2))
    found = compared(a, b)
    assert (found["text"], found["verdict"]) == ("same", verdicts.WITHIN)
    assert found["matching"]["heads"] == 2 * HEADS


def test_the_probe_of_a_resumed_run_is_that_of_the_step(tmp_path: Path) -> None:
    start = json.loads((write_wandering(tmp_path / "any", 1) / "run.json").read_text())
    resumed = {**start, "step": 600, "probe": "4567"}
    runs = [
        write_wandering(tmp_path / name, seed, tokens=None, start=start | more)
        for name, seed, more in (
            ("whole", 1, {"probe": "4567"}),
            ("resumed", 2, {"probe": "0123", "resumed": [resumed]}),
        )
    ]
    assert compared(*runs)["text"] == "same"
    assert compared(*runs, "step", 500.0)["text"] == "different"


def test_a_probe_that_was_refused_is_not_what_is_shown(tmp_path: Path) -> None:
    probe: Any = {"tokens": None, "start": {"probe": "4567"}}
    runs = [write_wandering(tmp_path / str(seed), seed, **probe) for seed in (1, 2)]
    for run in runs:
        changed_rows(run, seen_in="forward")
    assert compared(*runs)["text"] == "unknown"


@pytest.mark.parametrize("start", [{}, {"probe": None}])
def test_where_the_text_is_not_known_numbers_are_compared_and_maps_are_not(
    start: dict[str, Any], tmp_path: Path
) -> None:
    a, b = (
        write_wandering(tmp_path / str(seed), seed, tokens=None, start=start) for seed in (1, 2)
    )
    found = compared(a, b)
    assert (found["text"], found["comparable"], found["matching"]) == ("unknown", True, None)
    assert found["verdict"] == verdicts.WITHIN
    assert "give the monitors the same probe=" in found["why"][0]
    again = compared(a, write_wandering(tmp_path / "again", 1, tokens=None, start=start))
    assert (again["verdict"], again["text"]) == (verdicts.IDENTICAL, "same")


def changed_rows(folder: Path, **fields: Any) -> None:
    """Changes each layer's row, or the metadata, in all captures of a run."""
    path = folder / "history.jsonl"
    captures = [json.loads(line) for line in path.read_text().splitlines()]
    for capture in captures:
        for row in (*capture["decoder"], capture["metadata"]):
            row |= {name: value for name, value in fields.items() if name in row}
    path.write_text("".join(json.dumps(capture) + "\n" for capture in captures))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seen_in": "forward"}, "A was seen in an extra forward, B was seen in the training's"),
        ({"shape": [3, 24, 24]}, "no layer of the same role, number and heads"),
        ({"type": "cross_attention"}, "no layer of the same role, number and heads"),
    ],
)
def test_what_was_seen_otherwise_is_not_comparable(
    changed: dict[str, Any], words: str, first: Path, tmp_path: Path
) -> None:
    other = write_wandering(tmp_path / "other", 2)
    changed_rows(other, **changed)
    found = compared(first, other)
    assert found["verdict"] == verdicts.NOT_COMPARABLE
    assert any(words in reason for reason in found["why"]), found["why"]


def test_a_layer_that_only_one_has_is_named(first: Path, tmp_path: Path) -> None:
    captures = {step: dict(list(layers.items())[:1]) for step, layers in wandering(2).items()}
    found = compared(first, write_run(tmp_path / "one", captures, tokens=TOKENS))
    assert found["why"][0] == "not in all: decoder self 1"
    assert {row["layer"] for row in found["layers"]} == {0}
    assert found["comparable"]


# Where


def test_the_last_step_that_both_have_is_compared_or_the_one_that_was_asked_for(
    first: Path, tmp_path: Path
) -> None:
    shorter = {step: layers for step, layers in wandering(2).items() if step <= 300}
    other = write_run(tmp_path / "shorter", shorter, tokens=TOKENS)
    found = compared(first, other)
    assert (found["at"], found["b"][0]["step"]) == (300, 300)
    assert "A has 12 captures and B 4, of which 4 are of the same steps" in found["why"]
    assert compared(first, other, "step", 250.0)["a"][0]["step"] == 200
    assert compared(first, other, "end")["a"][0]["step"] == 1100
    assert compared(first, other, "end", 100.0)["b"][0]["step"] == 200
    early = compared(first, other, "step", -1.0)
    assert (early["verdict"], early["layers"]) == (verdicts.NOT_COMPARABLE, [])
    assert "nothing was captured up to step -1" in early["reason"]


def test_by_loss_the_first_captures_that_have_reached_it_are_compared(tmp_path: Path) -> None:
    slow, fast = (
        write_wandering(tmp_path / name, seed, losses={step: 3.0 - step * pace for step in STEPS})
        for name, seed, pace in (("slow", 1, 0.001), ("fast", 2, 0.002))
    )
    found = compared(slow, fast, "loss")
    assert found["a"][0]["step"] == 1100
    assert found["b"][0]["step"] == 700, "the moving average lags behind"
    xs = [x for x, _ in found["curves"][0]["b"]]
    assert xs == sorted(xs, reverse=True)
    assert compared(slow, fast, "loss", 9.0)["b"][0]["step"] == 0
    never = compared(slow, fast, "loss", 0.1)
    assert (never["verdict"], never["reason"][:34]) == (
        verdicts.NOT_COMPARABLE, "a loss of 0.1 was not reached by a"
    )  # fmt: skip


def test_maps_that_are_gone_are_those_of_the_last_step_of_both(first: Path, tmp_path: Path) -> None:
    other = write_wandering(tmp_path / "other", 2)
    (other / "step_1100" / "maps.safetensors").unlink()
    (other / "step_1000" / "maps.safetensors").write_bytes(b"torn")
    found = compared(first, other)
    assert found["matching"]["steps"] == [900, 900]
    assert any("maps are those of step 900" in reason for reason in found["why"])
    assert any("maps of step 1000 are left out" in damage for damage in found["damages"])


def test_numbers_of_one_run_only_are_no_wobble(first: Path, tmp_path: Path) -> None:
    other = write_wandering(tmp_path / "other", 1)
    path = other / "history.jsonl"
    lines = path.read_text().splitlines()
    capture = json.loads(lines[-1])
    capture["decoder"][0]["heads"]["entropy"][2] = None
    path.write_text("\n".join([*lines[:-1], json.dumps(capture)]) + "\n")
    found = compared(first, other)
    assert found["verdict"] == verdicts.DIFFERS
    assert "1 numbers are defined in one of them only" in found["why"]


def test_a_step_that_was_captured_again_counts_once_and_kept_steps_do_not(
    first: Path, tmp_path: Path
) -> None:
    other = write_wandering(tmp_path / "other", 1)
    path = other / "history.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    kept = json.loads(lines[2])
    kept["metadata"] |= {"step": 201, "kept_for": "a NaN"}
    path.write_text("".join([lines[11], "{torn\n", *lines, json.dumps(kept) + "\n"]))
    found = compared(first, other)
    assert (found["verdict"], found["b"][0]["captures"]) == (verdicts.IDENTICAL, 12)
    assert "1 line is left out" in found["damages"][0]


def test_a_directory_without_a_run_says_so(first: Path, tmp_path: Path) -> None:
    with pytest.raises(NoRun, match="it has no summary"):
        compare_runs(first, tmp_path)
    empty = compared(first, write_run(tmp_path / "empty", {}))
    assert (empty["verdict"], empty["comparable"]) == (verdicts.NOT_COMPARABLE, False)


@pytest.mark.parametrize(
    "name", ["history.jsonl", "run.json", "summary.json", "step_1100/maps.safetensors"]
)
def test_a_damaged_file_gives_a_verdict_or_says_that_there_is_no_run(
    name: str, first: Path, tmp_path: Path
) -> None:
    other = write_wandering(tmp_path / "other", 2)
    whole, chance = (other / name).read_bytes(), Random(0)
    damages = (flipped_bits, other_bytes, truncated, with_a_part_again, without_a_part)
    for damage in 3 * damages:
        (other / name).write_bytes(damage(chance, whole, ()))
        with contextlib.suppress(NoRun):
            assert compared(first, other)["verdict"] in verdicts.MEANINGS


# Settings


def test_settings_that_differ_are_listed_by_dotted_names(first: Path, tmp_path: Path) -> None:
    config = {"lr": 1.0, "model": {"layers": 2, "heads": 6}, "seed": 1}
    found = compared(first, write_wandering(tmp_path / "other", 2, config=config))
    assert found["settings"] == {"config.lr": [0.1, 1.0], "config.model.heads": [None, 6]}


def test_values_of_another_kind_are_not_the_same_and_equal_numbers_are() -> None:
    a = {"one": 1, "text": 1, "flag": True, "list": [1, "a"], "gone": 0}
    b = {"one": 1.0, "text": "1", "flag": 1, "list": [1.0, "a"]}
    assert differing(a, b) == {"text": [1, "1"], "flag": [True, 1], "gone": [0, None]}
