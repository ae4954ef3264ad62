"""Real trainings are compared: one seed twice, heads in another order, another text.

`scripts/compare_suite.py` does the same with larger models, and with groups of them.
"""

from pathlib import Path

import pytest
from support.project import SCRIPTS


def test_trainings_are_told_apart_and_heads_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    from comparelib.experiments import SELDOM, Experiments
    from comparelib.trained_run import Recipe

    large = Recipe(layers=2, heads=6, width=48, length=32, steps=SELDOM, every=1, maps=True)
    experiments = Experiments(tmp_path, large, large, 0)
    same = experiments.one_seed_twice()
    assert (same["verdict"], same["largest_delta"]) == ("identical", 0)
    assert same["numbers"] >= 2 * (6 * 6 + 4)
    permuted = experiments.permuted_heads()
    assert (permuted["recovered"], permuted["heads"]) == (12, 12)
    assert 0 < permuted["matched_bits"] < permuted["numbered_bits"]
    text = experiments.another_text()
    assert text["verdict"] == "not comparable"
    assert "not all were given the same probe=" in text["reason"]
