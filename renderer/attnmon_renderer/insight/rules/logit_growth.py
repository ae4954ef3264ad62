"""The logits of a layer grow fast."""

from dataclasses import dataclass
from itertools import islice
from statistics import median

from attnmon_renderer.insight.judging.capture_record import LayerRecord, Place
from attnmon_renderer.insight.judging.past import Past
from attnmon_renderer.insight.judging.rule import Rule, Symptom
from attnmon_renderer.insight.judging.wording import figure, heads_words, layer_words

SMOOTHED = 3


@dataclass(frozen=True)
class LogitGrowth(Rule):
    """A layer's largest logit is past `top`, and has grown by `factor` within `captures` captures.

    Medians of three captures are compared. That changes of logits, more than their size, announce
    instability: arXiv 2511.21377. That size alone alarms on healthy runs: Kimi K2 (arXiv
    2507.20534) and others train with logits past 100.
    """

    name = "logit_growth"

    patience: int = 2
    top: float = 50.0
    factor: float = 2.0
    captures: int = 10
    worst: float = 1e4
    """The logit from which on it is an error: float16 ends at 65,504."""

    def judge(self, past: Past) -> list[Symptom]:
        large = [place for place in past.newest.layers if self._is_large(past, place)]
        found = (self._of_layer(past.of_layer(place)) for place in large)
        return [symptom for symptom in found if symptom is not None]

    def _is_large(self, past: Past, place: Place) -> bool:
        """Return whether one of the latest logits is near `top`: of most layers none ever is."""
        latest = (record.layers.get(place) for record in islice(reversed(past.recent), SMOOTHED))
        tops = [None if layer is None else layer.top_logit for layer in latest]
        return any(top is None or top >= 0.8 * self.top for top in tops)

    def _of_layer(self, layers: list[LayerRecord]) -> Symptom | None:
        tops = [layer.top_logit for layer in layers]
        known = [top for top in tops if top is not None]
        if len(known) < 2 * SMOOTHED or tops[-1] is None:
            return None
        now = median(known[-SMOOTHED:])
        at = max(0, len(known) - SMOOTHED - self.captures)
        before = max(median(known[at : at + SMOOTHED]), 1e-3)
        ratio = min(now / self.top, now / before / self.factor)
        if ratio < 0.8:
            return None
        return self._symptom(layers[-1], now, before, len(known) - SMOOTHED - at, ratio)

    def _symptom(
        self, layer: LayerRecord, now: float, before: float, captures: int, ratio: float
    ) -> Symptom:
        top = layer.top_logit or 0.0
        heads = layer.heads_where(
            [v is not None and v >= min(top, 0.5 * top) for v in layer.max_logit]
        )
        more = " although its queries and keys are normalised" if layer.normed else ""
        text = (
            f"The logits of {layer_words(layer)} grew from {figure(before)} to {figure(now)} "
            f"within {captures} captures{more}, most in {heads_words(heads, len(layer.max_logit))}."
        )
        advice = (
            "Look at the learnt gain of its normalisation, and lower its learning rate."
            if layer.normed
            else "Lower the learning rate of Q and K, warm up longer, or use QK-norm or QK-clip."
        )
        return Symptom(
            place=layer.place,
            severity="error" if now > self.worst else "warn",
            ratio=ratio,
            value=now,
            threshold=self.top,
            text=text,
            advice=advice,
            heads=heads,
            pictures=("timeline", "head_matrix", "multi_head", "heatmap"),
        )

    def lasts(self, fired: Symptom, past: Past) -> bool:
        """Return whether the logits are still about as large as when the alert fired."""
        role, number = fired.place
        layer = past.newest.layers.get((role, number or 0))
        top = None if layer is None else layer.top_logit
        return top is not None and fired.value is not None and top >= 0.8 * fired.value
