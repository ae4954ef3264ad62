"""Every family in transformers' AutoModel mappings."""

import copy
import importlib
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from scanlib.architecture import (
    MOST_PARAMETERS,
    TOO_LARGE,
    Architecture,
    Built,
    CannotBuild,
    prepared,
    reason_of,
)
from scanlib.libraries.transformers_configs import shrunk
from scanlib.libraries.transformers_inputs import candidates, one_of_packed

PREFERRED = (
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM", "MODEL_FOR_SPEECH_SEQ_2_SEQ", "MODEL_FOR_CAUSAL_LM", "MODEL",
)  # fmt: skip
"""Mappings in the order in which a family is looked up; the others follow."""


LOADED = (
    "generation", "modeling_utils", "models.bert.modeling_bert", "models.llama.modeling_llama",
    "models.clip.modeling_clip", "models.mixtral.modeling_mixtral", "models.t5.modeling_t5",
    "models.detr.modeling_detr", "models.wav2vec2.modeling_wav2vec2",
)  # fmt: skip


def architectures() -> Iterator[Architecture]:
    """Yields one architecture for each family, named after its `model_type`."""
    hf = _loaded()
    hf.logging.set_verbosity_error()
    for family, classes in sorted(_classes().items()):
        yield Architecture(f"transformers/{family}", partial(build, family, classes))


def _loaded() -> Any:
    """Loads what most models need, once, before processes are forked. Returns transformers."""
    for name in LOADED:
        importlib.import_module(f"transformers.{name}")
    return importlib.import_module("transformers")


def _classes() -> dict[str, list[str]]:
    """Returns the classes of models by family, the preferred one first."""
    auto: Any = importlib.import_module("transformers.models.auto.modeling_auto")
    every = [name for name in dir(auto) if re.fullmatch("MODEL_.*_MAPPING_NAMES", name)]
    ordered = [f"{name}_MAPPING_NAMES" for name in PREFERRED]
    found: dict[str, list[str]] = {}
    for name in dict.fromkeys([*ordered, *every]):
        for family, classes in getattr(auto, name).items():
            several = [classes] if isinstance(classes, str) else classes
            known = found.setdefault(family, [])
            known += [each for each in several if each not in known]
    return found


def build(family: str, classes: list[str], implementation: str | None = None) -> Built:
    """Returns the first of the classes, and the first way to shrink it, that can be called.

    Raises `CannotBuild` with the reason.
    """
    hf: Any = importlib.import_module("transformers")
    failures: list[str] = []
    for name in classes[:3]:
        for level in (0, 1):
            try:
                return _tried(getattr(hf, name), family, level, implementation)
            except Exception as error:
                failures.append(f"{name}: {type(error).__name__}: {error}"[:200])
    raise CannotBuild(reason_of(failures))


def _tried(kind: Any, family: str, level: int, implementation: str | None) -> Built:
    model = _small_model(kind, level, implementation)
    failure: Exception | None = None
    for inputs in candidates(model, model.config):
        try:
            packed = any(name.endswith("grid_thw") for name in inputs)
            return prepared(model, inputs, partial(one_of_packed, inputs) if packed else None)
        except Exception as error:
            failure = failure or error
    raise failure or CannotBuild("no inputs")


def _small_model(kind: Any, level: int, implementation: str | None) -> nn.Module:
    config_class = kind.config_class
    settings = shrunk(config_class().to_dict(), level)
    settings.pop("transformers_version", None)
    config = config_class.from_dict(settings)
    config.use_cache = False
    options = {} if implementation is None else {"attn_implementation": implementation}
    with torch.device("meta"):
        large = kind._from_config(copy.deepcopy(config), **options)
    count = sum(parameter.numel() for parameter in large.parameters())
    if count > MOST_PARAMETERS:
        raise CannotBuild(f"{count / 1e6:.0f} million parameters are left: {TOO_LARGE}")
    torch.manual_seed(0)
    model: nn.Module = kind._from_config(config, **options)
    return model.float()
