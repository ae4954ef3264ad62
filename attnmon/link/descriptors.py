"""File descriptors, and how to be rid of them."""

import contextlib
import os


def close(descriptor: int) -> None:
    """Close it. The system may complain, and has let go of it all the same."""
    with contextlib.suppress(OSError):
        os.close(descriptor)
