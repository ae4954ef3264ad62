"""Inputs for any model of transformers, made from the names of its forward's parameters."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from scanlib.architecture import SAMPLES

LENGTH, SHORTER, PADDED, FRAMES, AUDIO = 12, 7, 3, 2, 1600
"""Tokens, tokens of a second text, those of padding, images of a video, values of a sound."""
GRID, IMAGE = 4, 64
"""Patches to a side of an image where images are packed, and pixels where nothing else is said."""


class Sizes:
    """What an input has to fit, looked up in a configuration and in its parts."""

    def __init__(self, config: Any) -> None:
        self._settings: Mapping[str, Any] = config.to_dict()

    def get(self, *names: str, default: int) -> int:
        """Returns the first of these settings that is there, wherever it is."""
        for name in names:
            found = _find(self._settings, name)
            if found is not None:
                return found
        return default

    def noise(self, *names: str, length: int = LENGTH, default: int = 32) -> Tensor:
        """Returns vectors of a width that one of these settings has."""
        return torch.randn(SAMPLES, length, self.get(*names, default=default))

    @property
    def side(self) -> int:
        return self.get("image_size", "img_size", "input_size", default=IMAGE)

    @property
    def channels(self) -> int:
        return self.get("num_channels", "in_channels", "in_chans", default=3)

    @property
    def bins(self) -> int:
        names = ("num_mel_bins", "input_feat_per_channel", "feature_size", "input_dim")
        return self.get(*names, default=80)


def _find(settings: Mapping[str, Any], name: str) -> int | None:
    value = settings.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], int):
        return int(value[0])
    for part in settings.values():
        if isinstance(part, Mapping) and (found := _find(part, name)) is not None:
            return found
    return None


def texts(sizes: Sizes, length: int = LENGTH) -> Tensor:
    """Returns ids of ordinary words: none of the first nor the last, which may be special."""
    words = sizes.get("vocab_size", "n_vocab", default=99)
    return torch.randint(3, max(8, min(words, 80)), (SAMPLES, length))


def padding(length: int = LENGTH) -> Tensor:
    """Returns a mask with padding at the end of the sample that is looked at."""
    mask = torch.ones(SAMPLES, length, dtype=torch.long)
    mask[1, length - PADDED :] = 0
    return mask


def images(sizes: Sizes) -> Tensor:
    return torch.randn(SAMPLES, sizes.channels, sizes.side, sizes.side)


def video(sizes: Sizes) -> Tensor:
    frames = sizes.get("num_frames", "frames_per_clip", default=FRAMES)
    return torch.randn(SAMPLES, frames, sizes.channels, sizes.side, sizes.side)


def spectrum(sizes: Sizes) -> Tensor:
    return torch.randn(SAMPLES, 2 * sizes.get("max_source_positions", default=50), sizes.bins)


def boxes(sizes: Sizes) -> Tensor:
    return torch.randint(0, 20, (SAMPLES, LENGTH, 4)).sort(-1).values


def series(sizes: Sizes) -> Tensor:
    channels = sizes.get("num_input_channels", "input_size", default=1)
    length = sizes.get("context_length", "prediction_length", default=24)
    return torch.randn(SAMPLES, length, channels)


MAKERS: dict[str, Callable[[Sizes], Tensor]] = {
    "input_ids": texts,
    "attention_mask": lambda sizes: padding(),
    "decoder_input_ids": lambda sizes: texts(sizes, SHORTER),
    "pixel_values": images,
    "pixel_values_videos": video,
    "input_features": spectrum,
    "input_values": lambda sizes: torch.randn(SAMPLES, AUDIO),
    "bbox": boxes,
    "inputs_embeds": lambda sizes: sizes.noise("hidden_size", "d_model"),
    "hidden_states": lambda sizes: sizes.noise("hidden_size", "d_model"),
    "query_embeds": lambda sizes: sizes.noise("hidden_size", length=8),
    "encoder_hidden_states": lambda sizes: sizes.noise("encoder_hidden_size", "hidden_size"),
    "noise": lambda sizes: torch.rand(SAMPLES, 16),
    "visual_feats": lambda sizes: sizes.noise("visual_feat_dim", length=6, default=2048),
    "visual_pos": lambda sizes: sizes.noise("visual_pos_dim", length=6, default=4),
    "past_values": series,
    "qformer_input_ids": texts,
    "states": lambda sizes: sizes.noise("state_dim", default=17),
    "actions": lambda sizes: sizes.noise("act_dim", default=4),
    "rewards": lambda sizes: torch.randn(SAMPLES, LENGTH, 1),
    "returns_to_go": lambda sizes: torch.randn(SAMPLES, LENGTH, 1),
    "timesteps": lambda sizes: torch.arange(LENGTH).expand(SAMPLES, -1).clone(),
}
FORMS: dict[str, tuple[Callable[[Sizes], Tensor], ...]] = {
    "pixel_values": (video, lambda sizes: images(sizes)[:, :1]),
    "input_features": (
        lambda sizes: spectrum(sizes).mT.contiguous(),
        lambda sizes: spectrum(sizes)[:, None],
    ),
    "input_values": (
        lambda sizes: torch.randn(SAMPLES, 1, AUDIO),
        lambda sizes: torch.randn(SAMPLES, sizes.get("max_length", default=64), sizes.bins),
        lambda sizes: torch.randn(SAMPLES, 1, sizes.get("spec_size", default=64), sizes.bins),
    ),
    "past_values": (lambda sizes: series(sizes)[..., 0],),
}
"""Other forms of an input, tried in turn where the first does not fit."""
WITH_TEXT = ("attention_mask", "decoder_input_ids", "bbox")
OPTIONAL = ("input_ids", *WITH_TEXT, "pixel_values", "input_features", "input_values")
OF_STEPS = ("states", "actions", "rewards", "returns_to_go", "timesteps")


def candidates(model: nn.Module, config: Any) -> Iterator[dict[str, Tensor]]:
    """Yields inputs to try, the fullest first."""
    sizes = Sizes(config)
    if (packed := _packed(model, sizes)) is not None:
        yield packed
    if (illustrated := _illustrated(model, sizes)) is not None:
        yield illustrated
    for names in _names(model):
        yield {name: MAKERS[name](sizes) for name in names}
        for name in names:
            for make in FORMS.get(name, ()):
                yield {each: (make if each == name else MAKERS[each])(sizes) for each in names}


def _names(model: nn.Module) -> list[tuple[str, ...]]:
    """Returns which inputs to give together."""
    parameters = inspect.signature(model.forward).parameters
    main = str(getattr(model, "main_input_name", "input_ids"))
    required = [
        name for name, each in parameters.items()
        if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
    ]  # fmt: skip
    needed = [name for name in dict.fromkeys([main, *required]) if name in MAKERS]
    if main == "states":
        needed = [name for name in OF_STEPS if name in parameters]
    optional = [name for name in OPTIONAL if name in parameters and name not in needed]
    others = WITH_TEXT if "input_ids" in needed else ("input_ids", "decoder_input_ids")
    with_text = [name for name in optional if name in others]
    sets = [
        [*needed, *optional], [*needed, *with_text],
        [*needed, *(name for name in with_text if name != "bbox")],
        [*needed, *(name for name in with_text if name == "attention_mask")], needed,
    ]  # fmt: skip
    return list(dict.fromkeys(tuple(each) for each in sets))


def one_of_packed(inputs: dict[str, Tensor], sample: int) -> dict[str, Tensor]:
    """Returns one image of those that `candidates` has put behind each other."""
    each = GRID * GRID
    return {
        name: value[sample : sample + 1] if name.endswith("grid_thw")
        else value[sample * each : (sample + 1) * each]
        for name, value in inputs.items()
    }  # fmt: skip


def _packed(model: nn.Module, sizes: Sizes) -> dict[str, Tensor] | None:
    """Returns the patches of all images behind each other, if the model takes them so."""
    parameters = inspect.signature(model.forward).parameters
    grid = next((name for name in parameters if name.endswith("grid_thw")), None)
    first = next(iter(parameters))
    if grid is None or parameters[grid].default is not parameters[grid].empty:
        return None
    side = sizes.get("patch_size", default=14)
    width = sizes.channels * sizes.get("temporal_patch_size", default=1) * side * side
    patches = torch.randn(SAMPLES * GRID * GRID, width)
    return {first: patches, grid: torch.tensor([[1, GRID, GRID]] * SAMPLES)}


def _illustrated(model: nn.Module, sizes: Sizes) -> dict[str, Tensor] | None:
    """Returns texts with an image in each, if the model puts images in the place of tokens."""
    features = getattr(model, "get_image_features", None)
    token = getattr(model.config, "image_token_id", None)
    if features is None or not isinstance(token, int):
        return None
    pictures = images(sizes)
    try:
        with torch.no_grad():
            found = features(pixel_values=pictures)
        found = getattr(found, "pooler_output", found)
        count = sum(each.shape[:-1].numel() for each in found) // SAMPLES
    except Exception:  # it wants more than images: it is tried with a text alone
        return None
    ids = torch.cat([texts(sizes, 3), torch.full((SAMPLES, count), token), texts(sizes, 5)], 1)
    return {"input_ids": ids, "attention_mask": padding(ids.shape[1]), "pixel_values": pictures}
