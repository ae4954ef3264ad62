"""The heads of a layer stare at few keys."""

from dataclasses import dataclass

from attnmon_renderer.insight.judging.capture_record import LayerRecord, Values
from attnmon_renderer.insight.judging.past import Past
from attnmon_renderer.insight.judging.rule import Rule, Symptom
from attnmon_renderer.insight.judging.wording import figure, heads_words, layer_words

_ADVICE = (
    "Lower the learning rate, of Q and K above all, or warm up longer; if it is so from the start, "
    "look at the scale and the initial weights of Q and K."
)


@dataclass(frozen=True)
class AttentionCollapse(Rule):
    """At least half of a layer's heads look at one key each, and all queries at the same few.

    Entropy below `entropy` and coverage below `coverage`: either alone is healthy. A head that
    copies the previous token has no entropy, and uses every key. Entropy collapse: Zhai et al. 2023
    (arXiv 2303.06296). Heads that rest on a first key that is a sink do not count: Gu et al. 2024
    (arXiv 2410.10781).
    """

    name = "attention_collapse"

    patience: int = 2
    entropy: float = 0.1
    coverage: float = 0.3
    share: float = 0.5
    """Of a layer's heads."""
    sink: float = 0.5
    """Share on the first key from which on a head rests there, and does not count."""
    least_keys: int = 8
    """With fewer keys nothing is said."""
    loss_share: float = 0.05
    """How far the loss is above its lowest, over that, where it is an error."""
    loss_least: float = 0.1

    def judge(self, past: Past) -> list[Symptom]:
        near = {
            layer.place: self._collapsed(layer, 1 / 0.8)
            for layer in past.newest.layers.values()
            if layer.keys >= self.least_keys and layer.entropy
        }
        found = {place: heads for place, heads in near.items() if self._is_enough(heads)}
        is_worse = bool(found) and past.loss_is_worse(self.loss_share, self.loss_least)
        layers = past.newest.layers
        return [self._symptom(layers[place], heads, is_worse) for place, heads in found.items()]

    def _is_enough(self, heads: list[bool]) -> bool:
        return sum(heads) >= self.share * len(heads)

    def _symptom(self, layer: LayerRecord, near: list[bool], is_worse: bool) -> Symptom:
        chosen = self._collapsed(layer, 1.0)
        is_over = self._is_enough(chosen)
        heads = layer.heads_where(chosen if is_over else near)
        sinks = sum((first or 0.0) > 0.3 for first in layer.first_token)
        beside = f", beside the first one, a sink of {sinks} head{'s' * (sinks > 1)}"
        beside *= bool(sinks)
        entropy, coverage = _lowest(layer.entropy), _lowest(layer.coverage)
        return Symptom(
            place=layer.place,
            severity="error" if is_worse else "warn",
            ratio=1.0 if is_over else 0.8,
            value=entropy,
            threshold=self.entropy,
            text=f"In {layer_words(layer)}, {heads_words(heads, len(chosen))} look at one key "
            f"each, and all queries at the same few{beside}: entropy down to {figure(entropy)}, "
            f"and {coverage:.0%} of the keys are used{'; the loss has risen' if is_worse else ''}.",
            advice=_ADVICE,
            heads=heads,
            pictures=("multi_head", "heatmap", "head_matrix"),
        )

    def _collapsed(self, layer: LayerRecord, slack: float) -> list[bool]:
        values = zip(layer.entropy, layer.coverage, layer.first_token, strict=False)
        return [
            entropy is not None
            and coverage is not None
            and (first or 0.0) < self.sink
            and entropy < slack * self.entropy
            and coverage < slack * self.coverage
            for entropy, coverage, first in values
        ]


def _lowest(values: Values) -> float:
    return min((value for value in values if value is not None), default=0.0)
