"""Attention or the loss is NaN or infinite."""

from dataclasses import dataclass

from attnmon_renderer.insight.judging.past import Past
from attnmon_renderer.insight.judging.rule import RUN, Rule, Symptom
from attnmon_renderer.insight.judging.wording import layer_words

_ADVICE = (
    "Go back to the last good checkpoint with a lower learning rate; if it is the first step, look "
    "for rows that a mask leaves without any key."
)


@dataclass(frozen=True)
class Nonfinite(Rule):
    """Weights or the loss are NaN or infinite: one is enough, at once.

    Of several layers the first is named, which is where it began.
    """

    name = "nonfinite"

    def judge(self, past: Past) -> list[Symptom]:
        newest = past.newest
        broken = [layer for layer in newest.layers.values() if layer.non_finite]
        if not broken and not newest.loss_is_no_number:
            return []
        if broken:
            first, count = broken[0], broken[0].non_finite
            others = len(broken) - 1
            more = f", and in {others} more layer{'s' * (others > 1)}" if others else ""
            text = f"{count:,} weights are NaN or infinite in {layer_words(first)}{more}."
            return [_symptom(text, count, "heatmap", "multi_head")]
        return [_symptom("The loss is NaN or infinite.", None, "timeline")]


def _symptom(text: str, value: float | None, *pictures: str) -> Symptom:
    return Symptom(RUN, "error", 1.0, value, 0.0, text, _ADVICE, pictures=pictures)
