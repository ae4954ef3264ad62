"""The logits of a layer are large."""

from dataclasses import dataclass

from attnmon_renderer.insight.judging.capture_record import LayerRecord
from attnmon_renderer.insight.judging.past import Past
from attnmon_renderer.insight.judging.rule import Rule, Symptom
from attnmon_renderer.insight.judging.wording import figure, heads_words, layer_words


@dataclass(frozen=True)
class LogitHigh(Rule):
    """A layer's largest logit is past `high`, or past `very_high`.

    Past 100 is where Kimi K2's QK-clip begins (arXiv 2507.20534); it logs such heads, and recovers
    from them. Past 1,000 logits of that model would have gone without it. Dehghani et al. 2023
    (arXiv 2302.05442) saw a ViT diverge with logits past 50,000.
    """

    name = "logit_high"

    patience: int = 2
    high: float = 100.0
    """Informs from here on."""
    very_high: float = 1000.0
    """Warns from here on."""

    def judge(self, past: Past) -> list[Symptom]:
        layers = past.newest.layers.values()
        return [self._symptom(layer) for layer in layers if self._ratio(layer) >= 0.8]

    def _ratio(self, layer: LayerRecord) -> float:
        return (layer.top_logit or 0.0) / self.high if self.high else 1.0

    def _symptom(self, layer: LayerRecord) -> Symptom:
        top = layer.top_logit or 0.0
        heads = layer.heads_where(
            [v is not None and v >= min(self.high, top) for v in layer.max_logit]
        )
        capped = f"; its soft cap is {figure(layer.softcap)}" if layer.softcap else ""
        is_worse = top > self.very_high
        return Symptom(
            place=layer.place,
            severity="warn" if is_worse else "info",
            ratio=self._ratio(layer),
            value=top,
            threshold=self.very_high if is_worse else self.high,
            text=f"The largest logit of {layer_words(layer)} is {figure(top)}, in "
            f"{heads_words(heads, len(layer.max_logit))}{capped}.",
            advice="QK-norm, QK-clip or a lower learning rate of Q and K would bring it down."
            if is_worse
            else "It is common in large models and often passes; watch whether it grows.",
            heads=heads,
            pictures=("head_matrix", "multi_head", "timeline"),
        )
