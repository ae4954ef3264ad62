"""An alert: what a rule has found in the attention, or in the loss, of a training."""

from dataclasses import dataclass
from typing import Any, Literal

from attnmon.link.records.schema import require

Severity = Literal["info", "warn", "error"]
AlertState = Literal["firing", "resolved"]

SEVERITIES: tuple[Severity, ...] = ("info", "warn", "error")
"""From the least serious to the most."""
LONGEST_TEXT = 1000
"""The most characters of each of its texts."""
MOST_HEADS = 4096
MOST_PICTURES = 16


@dataclass(frozen=True, slots=True)
class Alert:
    """One episode of trouble, as it stands at a step: firing, or resolved."""

    id: str
    """The same at every change of one episode, and no other's."""
    rule: str
    """Name of the rule, such as "logit_growth"."""
    severity: Severity
    state: AlertState
    step: int
    """The step at which it came to this state, or to this severity."""
    role: str = ""
    """ "encoder_self", "decoder_self" or "decoder_cross"; empty where it is of no layer."""
    layer: int | None = None
    """The layer's number in its role; None where it is of no layer, or of all of a role."""
    heads: tuple[int, ...] = ()
    """The heads that it is about, in the model's numbering; empty for all."""
    value: float | None = None
    """The figure that was compared, in the rule's own unit; None where it is no number."""
    threshold: float | None = None
    """What it was compared with."""
    text: str = ""
    """What was seen, in one sentence."""
    advice: str = ""
    """What to try, in one sentence: "try" in the JSON."""
    pictures: tuple[str, ...] = ()
    """Files to look at, in the run's directory."""

    def __post_init__(self) -> None:
        for text in (self.id, self.rule, self.role, self.text, self.advice):
            require(len(text) <= LONGEST_TEXT, "text", text)
        require(len(self.heads) <= MOST_HEADS, "heads", len(self.heads))
        require(len(self.pictures) <= MOST_PICTURES, "pictures", len(self.pictures))
        for name in ("value", "threshold"):  # a count, or a whole number in JSON, is no float
            if (number := getattr(self, name)) is not None:
                object.__setattr__(self, name, float(number))

    @property
    def is_open(self) -> bool:
        """Whether the trouble lasts, as far as is known."""
        return self.state == "firing"

    def is_at_least(self, severity: Severity) -> bool:
        """Return whether it is as serious as this, or more."""
        return SEVERITIES.index(self.severity) >= SEVERITIES.index(severity)

    def fields(self) -> dict[str, Any]:
        """Return its fields as they stand in `alerts.jsonl`."""
        return {
            "id": self.id,
            "rule": self.rule,
            "severity": self.severity,
            "state": self.state,
            "step": self.step,
            "role": self.role or None,
            "layer": self.layer,
            "heads": list(self.heads),
            "value": self.value,
            "threshold": self.threshold,
            "text": self.text,
            "try": self.advice,
            "pictures": list(self.pictures),
        }
