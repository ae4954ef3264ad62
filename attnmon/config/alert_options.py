"""Checks what a user chose of alerts: which rules with which settings, and whom to tell."""

import dataclasses
import os
from collections.abc import Iterable
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from attnmon.config.validation import choice
from attnmon.link.records.run_setup import ChosenRule
from attnmon.options import ALERT_RULES

VARIABLE = "ATTNMON_NOTIFY"


def chosen_rules(name: str, given: Any) -> tuple[ChosenRule, ...]:
    """Return rules with the settings that are not their own, each rule once.

    Raises TypeError and ValueError for what is no rule, or has no such setting.
    """
    if isinstance(given, str) and given != "default":
        raise TypeError(f"{name}={given!r}: give a list, such as [{given!r}]")
    several = ["default"] if given == "default" else given
    if not isinstance(several, Iterable):
        raise TypeError(f"{name}={given!r}: give a list of rules, [] for none, or 'default'")
    chosen: dict[str, dict[str, float]] = {}
    for item in several:
        for rule, settings in _rules_in(name, item):
            chosen.setdefault(rule, {}).update(settings)
    if any(chosen.values()):
        _check(name, chosen)
    return tuple(ChosenRule(rule, tuple(of_rule.items())) for rule, of_rule in chosen.items())


def notify_address(name: str, given: Any) -> str:
    """Return an address of the web, or "" for none; errors never show it."""
    source = name if given else VARIABLE
    address = given or os.environ.get(VARIABLE) or ""
    if not isinstance(address, str):
        raise TypeError(f"{source}: give an address as text, not a {type(address).__name__}")
    try:
        parts = urlsplit(address.strip())
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_address = False
    if address and not is_address:
        raise ValueError(f"{source}: give an address that begins with https://, as a webhook's")
    return address.strip()


def _rules_in(name: str, item: Any) -> list[tuple[str, dict[str, float]]]:
    """Return the rules that an item names, with the settings that it gives them."""
    if item == "default":
        return [(rule, {}) for rule in ALERT_RULES]
    if isinstance(item, str):
        place, equals, value = item.partition("=")
        rule, _, setting = place.partition(".")
        choice(name, rule, ALERT_RULES)
        return [(rule, {setting: _number(name, item, value)} if equals else {})]
    rule_name = getattr(item, "name", None)
    if isinstance(item, type) or not dataclasses.is_dataclass(item) or rule_name not in ALERT_RULES:
        raise TypeError(f"{name}: {item!r:.80} is no rule; give one of {', '.join(ALERT_RULES)}")
    return [(rule_name, {f.name: float(getattr(item, f.name)) for f in dataclasses.fields(item)})]


def _number(name: str, item: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"{name}: {item!r}: give a number, as in 'logit_growth.top=80'") from None


def _check(name: str, chosen: dict[str, dict[str, float]]) -> None:
    """Raise ValueError for settings that rules do not have, or do not allow."""
    table = import_module("attnmon_renderer.insight.rule_table")  # only where they are changed
    try:
        table.make_rules(chosen, chosen)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
