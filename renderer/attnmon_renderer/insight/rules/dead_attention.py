"""No head of a role has learnt to select anything."""

from dataclasses import dataclass

from attnmon_renderer.insight.judging.past import Past
from attnmon_renderer.insight.judging.rule import Rule, Symptom
from attnmon_renderer.insight.judging.wording import figure, role_words


@dataclass(frozen=True)
class DeadAttention(Rule):
    """All heads of all layers of a role are uniform, after `captures` captures.

    A single uniform head is healthy, and all are at the start. So it waits, and only informs.
    """

    name = "dead_attention"

    patience: int = 5
    entropy: float = 0.98
    captures: int = 30

    def judge(self, past: Past) -> list[Symptom]:
        if past.count <= self.captures:
            return []
        values: dict[str, list[float]] = {}
        for layer in past.newest.layers.values():
            known = [entropy for entropy in layer.entropy if entropy is not None]
            values.setdefault(layer.role, []).extend(known)
        return [
            Symptom(
                place=(role, None),
                severity="info",
                ratio=min(entropies) / self.entropy,
                value=min(entropies),
                threshold=self.entropy,
                text=f"All {len(entropies)} heads of {role_words(role)} are still uniform: the "
                f"lowest entropy is {figure(min(entropies))} after {past.count:,} captures.",
                advice="Look whether Q and K are trained, and how they were initialised.",
                pictures=("head_matrix", "heatmap"),
            )
            for role, entropies in values.items()
            if entropies and min(entropies) > self.entropy
        ]
