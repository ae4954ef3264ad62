"""All architectures of all libraries that are installed."""

import sys
from collections.abc import Iterator

from scanlib.architecture import Architecture
from scanlib.libraries import (
    audio_models,
    diffusers_models,
    graph_models,
    own_matrix,
    timm_models,
    transformers_models,
    vit_pytorch_models,
    x_transformers_models,
)

LIBRARIES = (
    own_matrix, diffusers_models, transformers_models, x_transformers_models, graph_models,
    audio_models, vit_pytorch_models, timm_models,
)  # fmt: skip
"""diffusers comes before those that are shown an empty torchvision, in which it would look."""


def architectures() -> Iterator[Architecture]:
    """Yields each architecture once; leaves out the libraries that are not installed."""
    for library in LIBRARIES:
        try:
            yield from library.architectures()
        except ImportError as missing:
            name = library.__name__.rpartition(".")[2]
            print(f"{name} is left out: {missing}", file=sys.stderr)
