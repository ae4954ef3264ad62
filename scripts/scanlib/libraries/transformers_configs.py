"""Shrinks the configuration of any family of transformers, by the names of its settings."""

import copy
import re
from collections.abc import Mapping
from typing import Any

WIDTH, HEADS, HEAD_WIDTH, GROUPS, INNER, VOCABULARY = 32, 4, 8, 2, 64, 99
IMAGE, PATCH = 64, 16

LAYERS = re.compile(
    r"^(?!.*(expert|group|per_layer|skip|kv_shared|dense|mlp|conv|deepstack|feat|pos|nextn|mtp))"
    r"(.*num_.*layers|.*_layers|n_layers?|num_layers?|layers|depth|n_blocks|num_blocks)$"
)
RULES: tuple[tuple[str, int], ...] = (
    (r"(.*_)?vocab_size(_.*)?|n_vocab|vocabulary_size|.*_num_tokens", VOCABULARY),
    (r"type_vocab_size", 2),
    (r"(.*_)?image_size|img_size|input_size|sample_size", IMAGE),
    (r"(.*num_)?(key_value|kv)_heads|n_head_kv|num_kv_heads|.*num_key_value_heads", GROUPS),
    (r"(.*_)?(num_)?(attention_)?heads|n_heads?|.*_attention_heads|num_heads.*|.*num_heads", HEADS),
    (
        r"qk_nope_head_dim|qk_rope_head_dim|(.*_)?head_dim|d_kv|d_head|kv_channels|.*head_size",
        HEAD_WIDTH,
    ),
    (r"v_head_dim|index_head_dim", HEAD_WIDTH),
    (r"rotary_dim", 4),
    (r"upsample_groups", WIDTH),
    (r"mamba_n_heads|mamba_num_heads", HEADS),
    (r"mamba_d_head|mamba_head_dim", 2 * WIDTH // HEADS),
    (r"q_lora_rank|kv_lora_rank|o_lora_rank", 16),
    (
        r"(.*_)?(intermediate|ffn|feedforward|mlp|inner)_(size|dim).*|.*ffn_dim|d_ff|n_inner|d_inner",
        INNER,
    ),
    (
        r"(.*_)?(hidden|embedding|model|projection|embed|encoder|decoder|text|vision)_(size|dim)",
        WIDTH,
    ),
    (
        r"d_model|n_embd|dim|width|hidden|emb_dim|.*_hidden_size|out_hidden_size|hidden_size.*",
        WIDTH,
    ),
    (r"(n|num)_(routed_|local_)?experts|moe_num_experts|num_local_experts", 4),
    (r"(num_experts_per_tok|top_?k|moe_topk|num_experts_per_token|moe_k)", 2),
    (r"n_group|topk_group", 1),
)
"""Names of settings, and the number that each gets; the first that fits counts."""
SMALLER: tuple[tuple[str, int], ...] = (
    (
        r"max_(position_embeddings|source_positions|target_positions|seq_len|length)|n_positions",
        128,
    ),
    (r"n_ctx|max_sequence_length|block_size|context_length", 128),
    (r"sliding_window|attention_window|window_size|local_attention|.*_window", 8),
    (r"num_queries|num_latents|num_query_tokens", 8),
    (r"num_labels", 3),
)
"""Names of settings that are at most this."""


DERIVED = ("stage_names", "out_features", "out_indices", "per_layer_config")
"""What a configuration finds by itself."""


RESNET = {
    "model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 8, 16, 16],
    "depths": [1, 1, 1, 1], "out_features": ["stage2", "stage3", "stage4"],
}  # fmt: skip
"""In the place of timm's backbones, which transformers does not take without torchvision."""
MISSING = {"head_dim": HEAD_WIDTH, "attention_head_dim": HEAD_WIDTH, "vocab_size": VOCABULARY}
"""What a checkpoint would give."""


def shrunk(settings: Mapping[str, Any], level: int) -> dict[str, Any]:
    """Returns smaller settings for a configuration, its parts included.

    level: 0 changes every width, 1 the number of layers and words alone.
    """
    features = settings.get("out_features") or ()
    dropped = DERIVED if len(features) < 2 else ("stage_names",)
    found = {
        name: _smaller(name, value, level)
        for name, value in settings.items()
        if name not in dropped
    }
    _keep_special_tokens(found)
    if level == 0 and found.get("kv_lora_rank"):
        found["num_key_value_heads"] = found["num_attention_heads"]
    if level == 0:
        _fit_stages(found)
    _fit_layer_lists(settings, found)
    _fit_features(found, len(features))
    return found


def _smaller(name: str, value: Any, level: int) -> Any:
    if name == "backbone_config" and _is_of_timm(value):
        return RESNET
    if value is None and name in MISSING:
        return MISSING[name]
    if isinstance(value, Mapping):
        return shrunk(value, level) if "model_type" in value else _sections(value, level)
    if isinstance(value, bool) or not isinstance(value, int):
        return copy.deepcopy(value)
    if LAYERS.match(name):
        return min(value, 2)
    if level == 0 or "vocab_size" in name:
        for pattern, number in RULES:
            if re.fullmatch(pattern, name):
                return min(value, number)
    if level == 0:
        for pattern, number in SMALLER:
            if re.fullmatch(pattern, name):
                return min(value, number)
        if name == "patch_size":
            return min(value, PATCH)
    return value


def _sections(settings: Mapping[str, Any], level: int) -> dict[str, Any]:
    """Returns settings of positions: they are split over a head's width by sections."""
    found = copy.deepcopy(dict(settings))
    half = found.get("partial_rotary_factor") == 0.5
    for name, value in found.items():
        if isinstance(value, Mapping):
            found[name] = _sections(value, level)
        elif name == "mrope_section" and level == 0:
            found[name] = [1, 1, 0] if half else [2, 1, 1]
    return found


def _keep_special_tokens(settings: dict[str, Any]) -> None:
    """Puts ids of special tokens, where they are not in the vocabulary, at its end, all apart."""
    words = settings.get("vocab_size")
    if not isinstance(words, int):
        text = settings.get("text_config")
        words = text.get("vocab_size") if isinstance(text, Mapping) else None
    if not isinstance(words, int):
        return
    following = words - 1
    for name, value in settings.items():
        is_id = re.search(r"token_(id|index)$|_token_id$", name) and isinstance(value, int)
        if is_id and not isinstance(value, bool) and value >= words:
            settings[name], following = following, following - 1
        elif re.search(r"token_ids?$", name) and isinstance(value, list):
            settings[name] = [id for id in value if isinstance(id, int) and id < words] or [2]


def _fit_stages(settings: dict[str, Any]) -> None:
    """Shrinks models in stages: widths and depths are lists there, and so may be the heads."""
    heads = next(
        (settings[n] for n in ("num_heads", "num_attention_heads") if _ints(settings.get(n))), None
    )
    for name, value in settings.items():
        if not _ints(value) or not value:
            continue
        if name in ("depths", "num_blocks", "layer_depths", "layers"):
            settings[name] = [min(depth, 2) for depth in value]
        elif name in ("hidden_sizes", "embed_dims", "embed_dim", "neck_hidden_sizes", "dims"):
            fits = heads is not None and len(heads) == len(value)
            settings[name] = (
                [8 * n for n in heads] if fits and heads else [max(8, n // 4) for n in value]
            )
        elif name in ("image_size", "img_size"):
            settings[name] = [min(side, IMAGE) for side in value]
        elif name in ("mrope_section",):
            settings[name] = [1, 1, 2]
    if "depths" in settings and isinstance(settings.get("window_size"), int):
        settings["window_size"] = 2  # the last stage of a small image has no room for more
    if heads and isinstance(settings.get("embed_dim"), int):
        settings["embed_dim"] = 8 * heads[0]


def _fit_features(settings: dict[str, Any], count: int) -> None:
    """Takes the features of a backbone from its last layers, as many as before."""
    if count > 1 and isinstance(settings.get("num_hidden_layers"), int):
        settings["num_hidden_layers"] = count
        settings["out_features"] = [f"stage{number}" for number in range(1, count + 1)]
        settings["out_indices"] = list(range(1, count + 1))


def _fit_layer_lists(before: Mapping[str, Any], settings: dict[str, Any]) -> None:
    """Cuts lists with an entry for each layer, so that every kind of layer stays."""
    name = next(
        (n for n in ("num_hidden_layers", "n_layer", "num_layers", "n_layers") if n in before), None
    )
    count = before.get(name) if name else None
    if not name or not isinstance(count, int) or "depths" in before:
        return
    kinds = next((each for name, each in before.items() if _are_kinds(name, each, count)), None)
    chosen = list(range(min(2, count)))
    if kinds:
        chosen = sorted({kind: kinds.index(kind) for kind in kinds}.values())
        chosen = chosen if len(chosen) > 1 else [0, min(1, count - 1)]
        settings[name] = len(chosen)
    for key, value in before.items():
        if isinstance(value, list) and len(value) == count:
            settings[key] = [copy.deepcopy(value[index]) for index in chosen]


def _are_kinds(name: str, value: Any, count: int) -> bool:
    """Whether these are the kinds of so many layers, as "sliding_attention"."""
    names = ("layer_types", "layers_block_type")
    return name.endswith(names) and isinstance(value, list) and len(value) == count


def _is_of_timm(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("model_type") == "timm_backbone"


def _ints(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(type(each) is int for each in value)
