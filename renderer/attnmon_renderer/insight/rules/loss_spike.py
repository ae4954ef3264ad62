"""The loss jumps."""

from dataclasses import dataclass
from statistics import fmean, pstdev

from attnmon_renderer.insight.judging.past import Past
from attnmon_renderer.insight.judging.rule import RUN, Rule, Symptom
from attnmon_renderer.insight.judging.wording import figure


@dataclass(frozen=True)
class LossSpike(Rule):
    """The loss is above its mean by `sigmas` standard deviations, over the captures before.

    OLMo-core's stability monitor (6 σ over 128), of the captures that have a loss; and above it by
    `least` of itself, since a loss near 0 has next to no deviation.
    """

    name = "loss_spike"

    sigmas: float = 6.0
    window: int = 128
    fewest: int = 32
    """Captures before which nothing is said."""
    least: float = 0.1

    def judge(self, past: Past) -> list[Symptom]:
        *before, now = past.losses(self.window + 1) or [0.0]
        if past.newest.loss is None or len(before) < self.fewest:
            return []
        mean = fmean(before)
        if now - mean < 0.8 * self.least * abs(mean):
            return []  # as nearly always, without the deviation, which takes its time
        deviation = pstdev(before)
        limit = max(self.sigmas * deviation, self.least * abs(mean))
        ratio = (now - mean) / limit if limit else 0.0
        if ratio < 0.8:
            return []
        text = f"The loss is {figure(now)}, and was {figure(mean)} ± {figure(deviation)} before."
        advice = "Look at the data of this step, and at the attention of the captures before it."
        return [
            Symptom(
                RUN, "warn", ratio, now, mean + limit, text, advice,
                pictures=("timeline", "heatmap"),
            )
        ]  # fmt: skip
