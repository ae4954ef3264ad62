"""All architectures of all libraries that are installed."""

from collections.abc import Iterator

from scanlib.architecture import Architecture
from scanlib.libraries import own_matrix, transformers_models

LIBRARIES = (own_matrix, transformers_models)


def architectures() -> Iterator[Architecture]:
    """Yields each architecture once; leaves out the libraries that are not installed."""
    for library in LIBRARIES:
        try:
            yield from library.architectures()
        except ImportError as missing:
            print(f"{library.__name__.rpartition('.')[2]} is left out: {missing}")
