"""All rules by name, and rules made of what a user chose."""

from collections.abc import Iterable, Mapping

from attnmon.link.records.run_setup import ChosenRule
from attnmon_renderer.insight.judging.rule import Rule
from attnmon_renderer.insight.rules.attention_collapse import AttentionCollapse
from attnmon_renderer.insight.rules.dead_attention import DeadAttention
from attnmon_renderer.insight.rules.future_leak import FutureLeak
from attnmon_renderer.insight.rules.logit_growth import LogitGrowth
from attnmon_renderer.insight.rules.logit_high import LogitHigh
from attnmon_renderer.insight.rules.loss_spike import LossSpike
from attnmon_renderer.insight.rules.nonfinite import Nonfinite
from attnmon_renderer.insight.rules.padding_leak import PaddingLeak
from attnmon_renderer.insight.rules.scale_odd import ScaleOdd

RULES: dict[str, type[Rule]] = {
    kind.name: kind
    for kind in (
        Nonfinite,
        FutureLeak,
        PaddingLeak,
        ScaleOdd,
        LogitGrowth,
        LogitHigh,
        AttentionCollapse,
        DeadAttention,
        LossSpike,
    )
}
"""In the order in which they are documented."""


def make_rules(
    names: Iterable[str] = RULES, settings: Mapping[str, Mapping[str, float]] | None = None
) -> tuple[Rule, ...]:
    """Return the rules of these names, with these settings by rule and name.

    Raises ValueError for what is not there, or not allowed.
    """
    chosen = tuple(dict.fromkeys(names))
    for name in (*chosen, *(settings or {})):
        if name not in RULES:
            raise ValueError(f"there is no rule {name!r}: there are {', '.join(RULES)}")
    return tuple(RULES[name].with_settings(**(settings or {}).get(name, {})) for name in chosen)


def rules_of(chosen: Iterable[ChosenRule]) -> tuple[Rule, ...]:
    """Return the rules that a training has chosen. Raises ValueError as `make_rules`."""
    given = {each.name: dict(each.settings) for each in chosen}
    return make_rules(given, given)
