"""The names of files and of TensorBoard's tags, which are a contract with the user.

Names of modules, runs and tokens are data and never part of a path: a path is made of the step,
the epoch, the stack, the layer's index and the type, and nothing else.
"""

import re
from typing import cast

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention, AttentionType, Stack

SHORT_TYPE: dict[AttentionType, str] = {"self_attention": "self", "cross_attention": "cross"}

PACKED = ".zip"
"""Suffix of a file that takes the place of a capture's folder."""

STATISTICS = "statistics.json"
RAW_WEIGHTS = "attention_weights.safetensors"
MAPS = "maps.safetensors"
FAILED_FOLDER = "failed"
"""The folder of captures that could not be drawn, with their data."""

STEP_FIGURES = {
    "heatmap": "{layer}",
    "multi_head": "{layer}_heads",
    "layer_comparison": "{group}_layer_comparison",
    "alignment": "{layer}_alignment",
    "head_matrix": "{group}_head_matrix",
    "rollout": "{group}_rollout",
    "surface3d": "{layer}_3d",
    "image_overlay": "{layer}_overlay",
    "rollout_overlay": "{group}_rollout_overlay",
}
"""File names, without suffix, of the figures in a capture's folder, by kind of figure."""
RUN_FIGURES = ("animation", "timeline")
"""Kinds of figures that grow with the run and stand outside of the captures' folders."""

_STEP_FOLDER = re.compile(r"(?:epoch_-?\d+_)?step_(-?\d+)")
_STEM = re.compile(r"(encoder|decoder)_layer(\d+)_(self|cross)_attn")
_STEP_FIGURE = re.compile(
    "("
    + "|".join(
        name.format(
            layer=r"(encoder|decoder)_layer\d+_(self|cross)_attn",
            group="(encoder|decoder_self|decoder_cross)",
        )
        for name in STEP_FIGURES.values()
    )
    + r")\.(png|svg|pdf)"
)

LayerGroup = tuple[Stack, AttentionType]
"""The layers of one stack and one type of attention, which can be compared with each other."""


def folder(capture: Capture) -> str:
    """Return the name of a capture's folder: "step_100".

    "epoch_1_step_500" for a capture that was due because of its epoch.
    """
    step = f"step_{capture.step}"
    return f"epoch_{capture.epoch}_{step}" if capture.by_epoch else step


def layer_group(attention: Attention) -> LayerGroup:
    """Return the group that a layer belongs to."""
    return attention.stack, attention.type


def stem(attention: Attention) -> str:
    """Return the stem of a layer's files and tensors, such as "decoder_layer0_cross_attn"."""
    return layer_stem(attention.stack, attention.layer, attention.type)


def layer_stem(stack: Stack, layer: int, type_: AttentionType) -> str:
    """Return the same for a layer that is known by its place."""
    return f"{stack}_layer{layer}_{SHORT_TYPE[type_]}_attn"


def parse_stem(text: str) -> tuple[Stack, int, AttentionType] | None:
    """Return the stack, the layer's index and the type in a layer's stem; None for other texts."""
    named = _STEM.fullmatch(text)
    if named is None:
        return None
    types = {short: type_ for type_, short in SHORT_TYPE.items()}
    return cast(Stack, named[1]), int(named[2]), types[named[3]]


def role(stack: str, type_: AttentionType) -> str:
    """Return what a kind of layers is called in `run.json`, such as "decoder_cross"."""
    return f"{stack}_{SHORT_TYPE[type_]}"


def figure_name(kind: str, attention: Attention) -> str:
    """Return the stem of a figure's file, such as "decoder_layer0_cross_attn_heads".

    A figure of several layers is named after their group, such as "decoder_cross_rollout". An
    encoder has one kind of attention, which is not named: "encoder_layer_comparison".
    """
    return STEP_FIGURES[kind].format(layer=stem(attention), group=_group_name(attention))


def figure_tag(kind: str, attention: Attention) -> str:
    """Return TensorBoard's tag of a figure, such as "attention/decoder_layer0_cross_heads"."""
    layer = f"{attention.stack}_layer{attention.layer}_{SHORT_TYPE[attention.type]}"
    name = STEP_FIGURES[kind].format(layer=layer, group=_group_name(attention))
    return f"attention/{name}"


def _group_name(attention: Attention) -> str:
    stack = attention.stack
    return stack if stack == "encoder" else f"{stack}_{SHORT_TYPE[attention.type]}"


def scalar_tag(attention: Attention, statistic: str) -> str:
    """Return TensorBoard's tag of a scalar, such as "attention/decoder_layer0_cross_std"."""
    layer = f"{attention.stack}_layer{attention.layer}"
    if attention.stack == "decoder":
        layer += f"_{SHORT_TYPE[attention.type]}"
    return f"attention/{layer}_{statistic}"


def layer_title(attention: Attention) -> str:
    """Return a layer's title, such as "decoder layer 0 · cross-attention"."""
    return f"{attention.stack} layer {attention.layer} · {SHORT_TYPE[attention.type]}-attention"


def is_removable(name: str) -> bool:
    """Return whether a step's file may be removed for space: a picture, raw weights, or maps."""
    return name in (RAW_WEIGHTS, MAPS) or _STEP_FIGURE.fullmatch(name) is not None


def step_of(folder_name: str) -> int | None:
    """Return the step of a capture's folder; None for any other folder."""
    named = _STEP_FOLDER.fullmatch(folder_name)
    step = int(named[1]) if named else None
    return step if step is not None and abs(step) < 1 << 63 else None
