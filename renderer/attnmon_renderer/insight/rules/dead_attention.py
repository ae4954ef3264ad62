"""No head of a role, or of a layer, has learnt to select anything."""

from collections.abc import Sequence
from dataclasses import dataclass

from attnmon_renderer.insight.judging.capture_record import LayerRecord
from attnmon_renderer.insight.judging.past import Past
from attnmon_renderer.insight.judging.rule import Rule, Symptom
from attnmon_renderer.insight.judging.wording import figure, listed, role_words

EXACTLY = 1 - 1e-6
"""Entropy from which on weights are the same, but for what float32 rounds."""
_PICTURES = ("head_matrix", "heatmap")


@dataclass(frozen=True)
class DeadAttention(Rule):
    """All heads of all layers of a role are uniform, after `captures` captures.

    A single uniform head is healthy, and all are at the start. So it waits, and only informs. It
    warns where the weights of a layer are exactly the same, since whatever is trained differs by
    more; at once, where all its logits are 0, as those of a query or a key of zeros are.
    """

    name = "dead_attention"

    patience: int = 5
    entropy: float = 0.98
    captures: int = 30

    def judge(self, past: Past) -> list[Symptom]:
        roles: dict[str, list[LayerRecord]] = {}
        for layer in past.newest.layers.values():
            roles.setdefault(layer.role, []).append(layer)
        found = (self._of_role(past, role, layers) for role, layers in roles.items())
        return [symptom for symptom in found if symptom is not None]

    def _of_role(self, past: Past, role: str, layers: list[LayerRecord]) -> Symptom | None:
        is_late = past.count > self.captures
        exact = [layer for layer in layers if _is_exact(layer, is_late)]
        if exact:
            return _exact(role, exact)
        entropies = [each for layer in layers for each in layer.entropy if each is not None]
        if not is_late or not entropies or min(entropies) <= self.entropy:
            return None
        return self._uniform(role, entropies, past.count)

    def _uniform(self, role: str, entropies: list[float], captures: int) -> Symptom:
        return Symptom(
            place=(role, None),
            severity="info",
            ratio=min(entropies) / self.entropy,
            value=min(entropies),
            threshold=self.entropy,
            text=f"All {len(entropies)} heads of {role_words(role)} are still uniform: the lowest "
            f"entropy is {figure(min(entropies))} after {captures:,} captures.",
            advice="Look whether Q and K are trained, and how they were initialised.",
            pictures=_PICTURES,
        )


def _is_exact(layer: LayerRecord, is_late: bool) -> bool:
    entropies = [each for each in layer.entropy if each is not None]
    if not entropies or min(entropies) < EXACTLY:
        return False
    return is_late or all(logit == 0 for logit in layer.max_logit or (None,))


def _exact(role: str, layers: Sequence[LayerRecord]) -> Symptom:
    numbers = [layer.layer for layer in layers]
    which = f"layer{'s' * (len(numbers) > 1)} {listed(numbers)}"
    return Symptom(
        place=(role, None),
        severity="warn",
        ratio=1.0,
        value=1.0,
        threshold=EXACTLY,
        text=f"Every key gets exactly the same in {which} of {role_words(role)}: the logits do not "
        "differ at all.",
        advice="Look whether Q or K is zero or constant, and whether gradients reach them.",
        pictures=_PICTURES,
    )
