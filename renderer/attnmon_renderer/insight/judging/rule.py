"""What a rule is, and what it says of one capture."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from attnmon.link.records.alert import Severity
from attnmon_renderer.insight.judging.past import Past

PlaceOrRun = tuple[str, int | None]
"""A layer; all layers of a role (its number is None); or the run (the role is empty)."""

RUN: PlaceOrRun = ("", None)


@dataclass(frozen=True, slots=True)
class Symptom:
    """What a rule has found at one place of one capture."""

    place: PlaceOrRun
    severity: Severity
    ratio: float
    """How far it is beyond the threshold: 1 is at it, and 0.8 still keeps an alert from ending."""
    value: float | None
    threshold: float | None
    text: str
    """What was seen: a sentence with the figures."""
    advice: str
    """What to try: a sentence."""
    heads: tuple[int, ...] = ()
    pictures: tuple[str, ...] = ()
    """Kinds of pictures to look at, the best first."""


@dataclass(frozen=True)
class Rule(ABC):
    """A rule with its settings: a pure function of what is known of a run."""

    name: ClassVar[str]

    patience: int = 1
    """Captures in a row at which it must hold before an alert fires."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
                raise ValueError(f"{self.name}.{field.name}={value!r}: give a number from 0 on")
        if self.patience < 1:
            raise ValueError(f"{self.name}.patience={self.patience!r}: 1 is at once, and the least")

    @abstractmethod
    def judge(self, past: Past) -> list[Symptom]:
        """Return what is found in the newest capture; of a place at most one."""

    def lasts(self, fired: Symptom, past: Past) -> bool:
        """Return whether an alert stays open although nothing is found any more."""
        return False

    @classmethod
    def with_settings(cls, **settings: Any) -> "Rule":
        """Return a rule with these settings, of which whole numbers may be floats.

        Raises ValueError for what is no setting, or not allowed.
        """
        types = {field.name: type(field.default) for field in fields(cls)}
        for name in settings:
            if name not in types:
                there = ", ".join(types)
                raise ValueError(f"{cls.name} has no setting {name!r}: it has {there}")
        return cls(**{name: _as(types[name], value) for name, value in settings.items()})


def _as(wanted: type, value: Any) -> Any:
    is_whole = isinstance(value, float) and value.is_integer()
    return int(value) if wanted is int and is_whole else value
