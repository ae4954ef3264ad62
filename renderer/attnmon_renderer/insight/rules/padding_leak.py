"""Real tokens attend to padding."""

from dataclasses import dataclass

from attnmon_renderer.insight.judging.capture_record import LayerRecord
from attnmon_renderer.insight.judging.past import Past
from attnmon_renderer.insight.judging.rule import Rule, Symptom
from attnmon_renderer.insight.judging.wording import role_words

_ADVICE = (
    "Pass the mask to the attention (src_key_padding_mask, attention_mask), and look whether True "
    "means padding there or the opposite."
)


@dataclass(frozen=True)
class PaddingLeak(Rule):
    """Real queries give more than a thousandth of their attention to padding.

    What is padding, the batch's attention mask tells, or `log_attention(padding=)`. DEFault-bench
    (arXiv 2604.28118) measures the same.
    """

    name = "padding_leak"

    mass: float = 1e-3
    """Share of a real query's attention, in the mean of any head."""

    def judge(self, past: Past) -> list[Symptom]:
        found: dict[str, list[tuple[float, LayerRecord]]] = {}
        for layer in past.newest.layers.values():
            most = max((mass for mass in layer.padding_mass if mass is not None), default=0.0)
            if most > 0.8 * self.mass:
                found.setdefault(layer.role, []).append((most, layer))
        return [self._symptom(role, layers) for role, layers in found.items()]

    def _symptom(self, role: str, layers: list[tuple[float, LayerRecord]]) -> Symptom:
        mass, worst = max(layers, key=lambda each: each[0])
        count = f" in {len(layers)} layers" if len(layers) > 1 else f" in layer {worst.layer}"
        return Symptom(
            place=(role, None if len(layers) > 1 else worst.layer),
            severity="error",
            ratio=mass / self.mass if self.mass else 1.0,
            value=mass,
            threshold=self.mass,
            text=f"Real tokens pay {mass:.1%} of {role_words(role)} to padding{count}.",
            advice=_ADVICE,
            pictures=("heatmap", "multi_head"),
        )
