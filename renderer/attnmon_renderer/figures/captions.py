"""The words on a picture: what it shows, where the training stood, what to know about it."""

import math

from attnmon.link.messages import Attention, Capture
from attnmon_renderer.analysis.layer_analysis import LayerAnalysis, PooledMap
from attnmon_renderer.drawing import Axis, Caption
from attnmon_renderer.storage import paths


def layer_caption(capture: Capture, attention: Attention, pooled: PooledMap, heads: str) -> Caption:
    """Of a picture of one layer."""
    notes = [heads]
    if pooled.query_step > 1 or pooled.key_step > 1:
        notes.append(f"pooled {pooled.query_step}×{pooled.key_step} by {pooled.pooling}")
    if attention.note:
        notes.append(f"approximate: {attention.note}")
    return Caption(paths.title(attention), run_line(capture), " · ".join(notes))


def run_line(capture: Capture) -> str:
    """ "step 1,200 · epoch 3 · loss 0.123" """
    parts = [f"step {capture.step:,}"]
    if capture.epoch is not None:
        parts.append(f"epoch {capture.epoch}")
    if capture.loss is not None:
        parts.append(f"loss {capture.loss:.4g}")
    return " · ".join(parts)


def describe_average(attention: Attention) -> str:
    """What a map of all heads that were taken is an average of."""
    heads = attention.heads
    if len(heads) == 1:
        return f"head {heads[0]}"
    if heads == tuple(range(len(heads))):
        return f"average of {len(heads)} heads"
    return f"average of heads {', '.join(map(str, heads))}"


def describe_heads(attention: Attention) -> str:
    count = len(attention.heads)
    return f"{count} heads" if count > 1 else f"head {attention.heads[0]}"


def head_labels(attention: Attention, survey: LayerAnalysis) -> tuple[str, ...]:
    """ "head 3 · entropy 0.41" for each head, where the entropy is defined."""
    labels = [f"head {head}" for head in attention.heads]
    entropies = survey.statistics.heads["entropy"]
    return tuple(
        f"{label} · entropy {entropy:.2f}" if math.isfinite(entropy) else label
        for label, entropy in zip(labels, entropies, strict=True)
    )


def axes(capture: Capture, attention: Attention, pooled: PooledMap) -> tuple[Axis, Axis]:
    """Of queries and keys, with the tokens at each position where they are known."""
    _, queries, keys = attention.shape
    own = capture.encoder_tokens if attention.stack == "encoder" else capture.decoder_tokens
    attended = capture.encoder_tokens if attention.type == "cross_attention" else own
    return (
        Axis(queries, pooled.query_step, _tokens_if_fitting(own, queries)),
        Axis(
            keys,
            pooled.key_step,
            _tokens_if_fitting(attended, keys),
            cells_are_sums=pooled.pooling == "mass",
        ),
    )


def _tokens_if_fitting(tokens: tuple[str, ...], length: int) -> tuple[str, ...]:
    """Tokens label an axis only when there is one for each position."""
    return tokens if len(tokens) == length else ()
