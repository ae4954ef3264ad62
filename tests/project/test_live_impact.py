"""Tests of what the live benchmark says is lost, on trainings whose loss is planted."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from support.project import SCRIPTS

STEPS, EVERY, BESIDE = 6000, 500, 20


@pytest.fixture
def impact(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from benchlib import live_impact

    yield live_impact
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchlib"]:
        del sys.modules[name]


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_what_is_lost_is_found_on_a_machine_that_drifts(impact: Any, factor: float) -> None:
    rng = np.random.default_rng(1)
    drift = 1 + 0.15 * np.sin(np.arange(STEPS) / 700)
    seconds = 0.025 * drift * rng.lognormal(0, 0.1, STEPS)
    felt = np.arange(STEPS) % EVERY < BESIDE
    extra = seconds[felt].sum() * (factor - 1)
    planted = extra / seconds.sum()
    seconds[felt] *= factor
    found = impact.stretches(seconds.tolist(), felt.tolist())
    share, low, high = impact.lost_beside(found, float(seconds.sum()))
    assert len(found) == STEPS // EVERY
    assert low < planted < high
    assert abs(share - planted) < 0.001


def test_a_run_without_quiet_steps_is_not_judged(impact: Any) -> None:
    assert impact.stretches([0.025] * 60, [True] * 60) is None
