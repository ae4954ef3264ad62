"""The factor of query · key is not the usual one."""

from dataclasses import dataclass

from attnmon_renderer.insight.judging.past import Past
from attnmon_renderer.insight.judging.rule import Rule, Symptom
from attnmon_renderer.insight.judging.wording import role_words


@dataclass(frozen=True)
class ScaleOdd(Rule):
    """A layer's scale is not ``1 / √width`` (Vaswani et al. 2017, equation 1).

    Many models mean it so: T5 has 1, μP 1 / width, others one of their own. So it only informs.
    """

    name = "scale_odd"

    tolerance: float = 0.01
    """Relative difference from which on it counts."""

    def judge(self, past: Past) -> list[Symptom]:
        found: dict[str, list[tuple[int, float, float]]] = {}
        for layer in past.newest.layers.values():
            if layer.scale is None or not layer.width:
                continue
            usual: float = layer.width**-0.5
            if abs(layer.scale - usual) > self.tolerance * usual:
                found.setdefault(layer.role, []).append((layer.layer, layer.scale, usual))
        return [self._symptom(role, layers) for role, layers in found.items()]

    def _symptom(self, role: str, layers: list[tuple[int, float, float]]) -> Symptom:
        layer, scale, usual = layers[0]
        return Symptom(
            place=(role, layer if len(layers) == 1 else None),
            severity="info",
            ratio=1.0,
            value=scale,
            threshold=usual,
            text=f"The logits of {role_words(role)} are query · key times {scale:.4g}; 1 / √width "
            f"is {usual:.4g}.",
            advice="Nothing, if the model means it so, as T5 and μP do; otherwise give the scale.",
        )
