"""The text on a figure: what it shows, where the training stood, and what to know about it."""

import math

import numpy as np

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.sample_image import PatchedLayer
from attnmon_renderer.analysis.arrays import Doubles
from attnmon_renderer.analysis.layer_analysis import LayerAnalysis, PooledMap
from attnmon_renderer.drawing import Axis, Caption
from attnmon_renderer.storage import paths

ENTROPY = "entropy (of its maximum)"
"""The name of the entropy statistic at a scale."""
FROM_MAPS = "from the stored map: within 0.4 % of a head's largest weight"
"""The note of a layer whose weights were not stored as they are."""


def layer_caption(capture: Capture, attention: Attention, pooled: PooledMap, heads: str) -> Caption:
    """Return the caption of a figure of one layer; `heads` says which heads it shows."""
    notes = [heads]
    if pooled.query_step > 1 or pooled.key_step > 1:
        notes.append(f"pooled {pooled.query_step}×{pooled.key_step} by {pooled.pooling}")
    if attention.note:
        notes.append(attention.note)
    return Caption(paths.layer_title(attention), run_line(capture), " · ".join(notes))


def group_caption(capture: Capture, attention: Attention, content: str, note: str) -> Caption:
    """Return the caption of a figure of the group of layers that `attention` belongs to."""
    title = f"{attention.stack} {paths.SHORT_TYPE[attention.type]}-attention · {content}"
    if attention.note.endswith(FROM_MAPS):
        note = f"{note} · {FROM_MAPS}"
    return Caption(title, run_line(capture), note)


def overlay_caption(capture: Capture, title: str, note: str) -> Caption:
    """Return the caption of a figure that lays attention over the sample's image."""
    image = capture.image
    assert image is not None
    stretched = "image: its smallest value black, its largest white" if image.is_stretched else ""
    notes = filter(None, (note, stretched))
    return Caption(f"{title} · over the image", run_line(capture), " · ".join(notes))


def overlay_note(
    patches: PatchedLayer, attention: Attention, weights: Doubles, content: str
) -> str:
    """Return whose attention it is, how much of it goes to patches, and what was assumed.

    `weights`: [keys]; `content`: which heads or layers.
    """
    first = patches.earlier
    on_patches = float(np.nansum(weights[first : first + patches.rows * patches.columns]))
    others = f"{on_patches:.0%} on patches"
    if first > 1 or (first and not patches.has_class):
        others += f", {1 - on_patches:.0%} on {first} other tokens"
    elif first:
        others += f", {1 - on_patches:.0%} on the class token"
    return " · ".join(
        filter(None, (_whose(patches, attention), content, others, patches.remark, attention.note))
    )


def _whose(patches: PatchedLayer, attention: Attention) -> str:
    if attention.shape[1] == 1:
        return "the only query"
    return "class token" if patches.has_class else "mean over all patches"


def run_line(capture: Capture) -> str:
    """Return where the training stood, such as "step 1,200 · epoch 3 · loss 0.123"."""
    parts = [f"step {capture.step:,}"]
    if capture.epoch is not None:
        parts.append(f"epoch {capture.epoch}")
    if capture.loss is not None:
        parts.append(f"loss {capture.loss:.4g}")
    return " · ".join(parts)


def describe_average(attention: Attention) -> str:
    """Return which heads the average map is the mean of, such as "average of 8 heads"."""
    heads = attention.heads
    if len(heads) == 1:
        return f"head {heads[0]}"
    if heads == tuple(range(len(heads))):
        return f"average of {len(heads)} heads"
    return f"average of heads {', '.join(map(str, heads))}"


def describe_heads(attention: Attention) -> str:
    """Return how many heads are shown side by side, such as "8 heads"."""
    count = len(attention.heads)
    return f"{count} heads" if count > 1 else f"head {attention.heads[0]}"


def head_labels(attention: Attention, analysis: LayerAnalysis) -> tuple[str, ...]:
    """Return a label for each head: "head 3 · entropy 0.41", or "head 3" without an entropy."""
    labels = [f"head {head}" for head in attention.heads]
    entropies = analysis.statistics.heads["entropy"]
    return tuple(
        f"{label} · entropy {entropy:.2f}" if math.isfinite(entropy) else label
        for label, entropy in zip(labels, entropies, strict=True)
    )


def axes(capture: Capture, attention: Attention, pooled: PooledMap) -> tuple[Axis, Axis]:
    """Return the axes of queries and keys, with the token at each position where it is known."""
    _, queries, keys = attention.shape
    own = capture.encoder_tokens if attention.stack == "encoder" else capture.decoder_tokens
    attended = capture.encoder_tokens if attention.type == "cross_attention" else own
    sums = pooled.pooling == "mass"
    return (
        Axis(queries, pooled.query_step, _if_one_each(own, queries)),
        Axis(
            keys,
            pooled.key_step,
            _if_one_each((*_numbers_before(attention.earlier), *attended), keys),
            earlier=attention.earlier,
            cells_are_sums=sums,
        ),
    )


def _numbers_before(earlier: int) -> tuple[str, ...]:
    """Return a label for each key of a prefix or a cache, which no token is known of."""
    return tuple(f"−{before}" for before in range(earlier, 0, -1))


def _if_one_each(tokens: tuple[str, ...], positions: int) -> tuple[str, ...]:
    """Return the tokens if there is one for each position, else none."""
    return tokens if len(tokens) == positions else ()
