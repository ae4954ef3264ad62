"""Queries see tokens that they are to predict."""

from dataclasses import dataclass

from attnmon_renderer.insight.judging.capture_record import LayerRecord
from attnmon_renderer.insight.judging.past import Past
from attnmon_renderer.insight.judging.rule import Rule, Symptom
from attnmon_renderer.insight.judging.wording import role_words

_PICTURES = ("heatmap", "multi_head")


@dataclass(frozen=True)
class FutureLeak(Rule):
    """The mask of a decoder is causal but for some keys ahead, or it is none.

    Exact, from the mask: see `Reach`. A decoder without any mask counts only where it is given
    tokens, as numbers: one that fills a set of queries, as DETR's, is right without.
    """

    name = "future_leak"

    least_mass: float = 1e-6
    """Share of attention on later keys from which on it counts."""

    def judge(self, past: Past) -> list[Symptom]:
        layers = [layer for layer in past.newest.layers.values() if self._leaks(layer)]
        roles = {layer.role: [one for one in layers if one.role == layer.role] for layer in layers}
        return [self._symptom(role, found) for role, found in roles.items()]

    def _leaks(self, layer: LayerRecord) -> bool:
        is_own = layer.role == "decoder_self" and layer.keys > 1
        sees = (layer.ahead or 0) > 0 or (layer.sees_all and layer.predicts)
        return is_own and sees and (layer.future_mass or 0.0) >= self.least_mass

    def _symptom(self, role: str, layers: list[LayerRecord]) -> Symptom:
        first = layers[0]
        mass = max(layer.future_mass or 0.0 for layer in layers)
        where = role_words(role) + (f" ({len(layers)} layers)" if len(layers) > 1 else "")
        if first.ahead:
            seen = f"see {first.ahead} token{'s' * (first.ahead > 1)} ahead of their own"
            advice = (
                "Shift the mask: query i may see the keys 0 … i, as torch.tril gives it, not "
                f"tril(diagonal={first.ahead})."
            )
        else:
            seen = "see all that comes after them: there is no causal mask"
            advice = (
                "Give the decoder a causal mask (tgt_mask, is_causal=True), unless it fills in all "
                'positions at once; then leave out the rule "future_leak".'
            )
        text = f"Queries of {where} {seen}; {mass:.1%} of their attention is there."
        layer = first.layer if len(layers) == 1 else None
        return Symptom((role, layer), "error", 1.0, mass, 0.0, text, advice, pictures=_PICTURES)
