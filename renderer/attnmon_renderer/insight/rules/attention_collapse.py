"""The heads of a layer stare at few keys."""

from dataclasses import dataclass

from attnmon.link.records.alert import Severity
from attnmon_renderer.insight.judging.capture_record import LayerRecord, Values
from attnmon_renderer.insight.judging.past import Past
from attnmon_renderer.insight.judging.rule import Rule, Symptom
from attnmon_renderer.insight.judging.wording import figure, heads_words, layer_words

_ADVICE = (
    "Lower the learning rate, of Q and K above all, or warm up longer; if it is so from the start, "
    "look at the scale and the initial weights of Q and K."
)

_OF_LOSS = {"error": "; the loss has risen", "info": "; the loss falls, or is nearly gone"}
_GUESS = "; neither logits nor a loss are known"
_ADVICE_IF_LEARNT = "It may be what there is to learn: look whether these keys are the right ones."


@dataclass(frozen=True)
class AttentionCollapse(Rule):
    """At least half of a layer's heads look at one key each, and all queries at the same few.

    Entropy below `entropy` and coverage below `coverage`: either alone is healthy. A head that
    copies the previous token has no entropy, and uses every key. Entropy collapse: Zhai et al. 2023
    (arXiv 2303.06296). Heads that rest on a first key that is a sink do not count: Gu et al. 2024
    (arXiv 2410.10781).

    Heads that learn to pick one key for all queries look alike. They come to rest once the others
    have next to no weight, so that a head counts only with a logit past `logit`, where logits are
    known; and the loss falls meanwhile, or is nearly gone. Then it only informs, and so it does
    where neither logits nor a loss are known.
    """

    name = "attention_collapse"

    patience: int = 2
    entropy: float = 0.1
    coverage: float = 0.3
    share: float = 0.5
    """Of a layer's heads."""
    sink: float = 0.5
    """Share on the first key from which on a head rests there, and does not count."""
    logit: float = 25.0
    """The largest logit from which on a head counts: with e⁻²⁵ of its weight each, the other keys
    are together below what float32 can tell beside 1, of thousands of them."""
    least_keys: int = 8
    """With fewer keys nothing is said."""
    falls: float = 0.25
    """Share of the loss that is lost within ten captures where it is learning."""
    solved: float = 0.1
    """Share of the first loss below which nothing is left to harm."""
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
        if not found:
            return []
        of_loss = self._of_loss(past)
        layers = past.newest.layers
        return [self._symptom(layers[place], heads, of_loss) for place, heads in found.items()]

    def _of_loss(self, past: Past) -> Severity | None:
        """Return how grave the loss makes it; None where no loss is known."""
        if past.loss_is_worse(self.loss_share, self.loss_least):
            return "error"
        if past.loss_is_learning(self.falls, self.solved):
            return "info"
        return "warn" if past.losses(1) else None

    def _is_enough(self, heads: list[bool]) -> bool:
        return sum(heads) >= self.share * len(heads)

    def _symptom(self, layer: LayerRecord, near: list[bool], of_loss: Severity | None) -> Symptom:
        chosen = self._collapsed(layer, 1.0)
        is_over = self._is_enough(chosen)
        heads = layer.heads_where(chosen if is_over else near)
        sinks = sum((first or 0.0) > 0.3 for first in layer.first_token)
        beside = f", beside the first one, a sink of {sinks} head{'s' * (sinks > 1)}"
        beside *= bool(sinks)
        entropy, coverage = _lowest(layer.entropy), _lowest(layer.coverage)
        is_guess = of_loss is None and layer.top_logit is None
        severity = of_loss or ("info" if is_guess else "warn")
        known = _GUESS if is_guess else _OF_LOSS.get(severity, "")
        return Symptom(
            place=layer.place,
            severity=severity,
            ratio=1.0 if is_over else 0.8,
            value=entropy,
            threshold=self.entropy,
            text=f"In {layer_words(layer)}, {heads_words(heads, len(chosen))} look at one key "
            f"each, and all queries at the same few{beside}: entropy down to {figure(entropy)}, "
            f"and {coverage:.0%} of the keys are used{known}.",
            advice=_ADVICE_IF_LEARNT if severity == "info" else _ADVICE,
            heads=heads,
            pictures=("multi_head", "heatmap", "head_matrix"),
        )

    def _collapsed(self, layer: LayerRecord, slack: float) -> list[bool]:
        logits = layer.max_logit or (None,) * len(layer.entropy)
        values = zip(layer.entropy, layer.coverage, layer.first_token, logits, strict=False)
        sharp = min(self.logit, 0.8 * layer.softcap or self.logit) / slack
        return [
            entropy is not None
            and coverage is not None
            and (first or 0.0) < self.sink
            and entropy < slack * self.entropy
            and coverage < slack * self.coverage
            and (logit is None or logit > sharp)
            for entropy, coverage, first, logit in values
        ]


def _lowest(values: Values) -> float:
    return min((value for value in values if value is not None), default=0.0)
