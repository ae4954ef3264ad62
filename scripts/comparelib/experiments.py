"""The experiments: each trains what it needs, and returns its figures."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from attnmon_renderer.compare.comparison import compare_runs
from attnmon_renderer.compare.findings import Comparison
from attnmon_renderer.compare.group_comparison import compare_groups
from attnmon_renderer.compare.verdicts import DIFFERS, GROUPS_DIFFER, IDENTICAL, NOT_COMPARABLE
from comparelib.language_model import Attention, LanguageModel
from comparelib.trained_run import Recipe, train

RUNS = 4
"""In each group."""
NOISE = 0.1
SELDOM = 20
"""How much rarer captures are where few are enough."""

Figures = dict[str, Any]


class Experiments:
    """All trainings go below one folder, and are not made again.

    Args:
        large: The model of the experiments on maps.
        small: The model of the experiments on groups.
        pairs: How many pairs of groups differ in their seeds only.
    """

    def __init__(self, folder: Path, large: Recipe, small: Recipe, pairs: int) -> None:
        self._folder, self._large, self._small, self._pairs = folder, large, small, pairs
        self._seldom = replace(large, every=SELDOM * large.every)

    def by_name(self) -> dict[str, Callable[[], Figures]]:
        """Return what makes each experiment."""
        rates = (10.0, 3.0, 1.5)
        return {
            "one seed twice": self.one_seed_twice,
            "heads permuted": self.permuted_heads,
            "another text": self.another_text,
            "another seed": self.another_seed,
            "groups: seeds only": self.seeds_only,
            **{f"groups: learning rate × {rate:g}": partial(self.learning_rate, rate)
               for rate in rates},
        }  # fmt: skip

    def one_seed_twice(self) -> Figures:
        """Two trainings of one seed are the same to the last bit."""
        found = self._compare(self._train("large"), self._train("again"))
        largest = max(abs(row.delta) for row in found.rows)
        well = found.verdict == IDENTICAL and largest == 0
        return _figures(found, well) | {"numbers": len(found.rows), "largest_delta": largest}

    def permuted_heads(self) -> Figures:
        """The same trained model, its heads in another order, both with noise in every layer."""
        plain = partial(_permute_and_disturb, seed=None)
        permuted = partial(_permute_and_disturb, seed=7)
        a = train(self._seldom, 0, self._folder / "noisy", plain)
        b = train(self._seldom, 0, self._folder / "permuted", permuted)
        found = self._compare(a, b)
        assert found.matching is not None
        orders = _orders(self._large, 7)
        right = sum(
            int(orders[layer.name.layer][partner]) == head
            for layer in found.matching.layers
            for head, partner in enumerate(layer.partners.tolist())
        )
        heads = self._large.layers * self._large.heads
        return _figures(found, right == heads) | {
            "recovered": right, "heads": heads, "numbered_bits": found.matching.numbered,
            "matched_bits": found.matching.matched,
        }  # fmt: skip

    def another_text(self) -> Figures:
        """The same training, looked at on another text."""
        other = train(replace(self._seldom, probe_at=5000), 0, self._folder / "text")
        found = self._compare(self._train("large"), other)
        return _figures(found, found.verdict == NOT_COMPARABLE)

    def another_seed(self) -> Figures:
        """Two seeds, and how long it takes to compare their captures."""
        found = self._compare(self._train("large"), train(self._large, 1, self._folder / "seed"))
        assert found.matching is not None
        begun, wall = time.process_time(), time.monotonic()
        self._compare(self._folder / "large", self._folder / "seed")
        cpu, seconds = time.process_time() - begun, time.monotonic() - wall
        return _figures(found, found.verdict == DIFFERS and cpu <= 5) | {
            "captures": found.a[0].captures, "seconds": seconds, "cpu_seconds": cpu,
            "numbered_bits": found.matching.numbered, "matched_bits": found.matching.matched,
        }  # fmt: skip

    def seeds_only(self) -> Figures:
        """Groups that differ in nothing but their seeds."""
        found = []
        for pair in range(self._pairs):
            first = 100 + 2 * RUNS * pair
            sides = (self._group(f"null{pair}a", first), self._group(f"null{pair}b", first + RUNS))
            found.append(compare_groups(sides[0], sides[1]))
        differ = sum(each.verdict == GROUPS_DIFFER for each in found)
        ps = [round(each.test.p, 3) for each in found if each.test is not None]
        return {"well": differ <= 2, "pairs": self._pairs, "differ": differ, "p": sorted(ps)}

    def learning_rate(self, factor: float) -> Figures:
        """Groups of the same seeds but for others, one with another learning rate."""
        recipe = replace(self._small, lr=factor * self._small.lr)
        other = [
            train(recipe, seed, self._folder / f"lr{factor:g}" / str(seed))
            for seed in range(500, 500 + RUNS)
        ]
        found = compare_groups(self._group("null0a", 100), other)
        assert found.test is not None
        needed = factor < 10 or found.verdict == GROUPS_DIFFER
        return _figures(found, needed) | {"p": found.test.p, "effect": found.test.effect}

    def _train(self, name: str) -> Path:
        return train(self._large, 0, self._folder / name)

    def _group(self, name: str, first_seed: int) -> list[Path]:
        seeds = range(first_seed, first_seed + RUNS)
        return [train(self._small, seed, self._folder / name / str(seed)) for seed in seeds]

    @staticmethod
    def _compare(a: Path, b: Path) -> Comparison:
        return compare_runs(a, b)


def _figures(found: Comparison, well: bool) -> Figures:
    return {"well": well, "verdict": found.verdict, "reason": found.reason, "score": found.score}


def _orders(recipe: Recipe, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randperm(recipe.heads, generator=generator) for _ in range(recipe.layers)]


def _permute_and_disturb(model: LanguageModel, seed: int | None) -> None:
    """Add noise to what each layer is given, and give the heads another order, if a seed says it.

    The noise is drawn from the global generator, which differs between the two trainings.
    """
    model.noise = NOISE
    torch.manual_seed(0 if seed is None else seed)
    if seed is None:
        return
    layers = [part for part in model.modules() if isinstance(part, Attention)]
    generator = torch.Generator().manual_seed(seed)
    for layer in layers:
        layer.permute_heads(torch.randperm(layer.heads, generator=generator))
