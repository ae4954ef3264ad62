"""Keeps a temporary run that shows a split model as one, up to date from its parts' runs.

A step is merged when every process has recorded it. One that a process does not record in time is
merged without it, and again should it come after all: no process is waited for.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attnmon_renderer.mirror.remote_folders import repeating
from attnmon_renderer.model_ranks.model_merging import ModelMerging
from attnmon_renderer.storage import paths, regular_files
from attnmon_renderer.storage.copies import copy_of, shown_place
from attnmon_renderer.storage.run_reader import NoRun


@contextmanager
def merged_copy(
    folder: Path, wanted: Callable[[str], bool] = lambda name: True, *, follow: bool
) -> Iterator[Path]:
    """Give a temporary run that shows the whole model whose parts' runs are below a directory.

    Args:
        wanted: which files are looked at, by their names.
        follow: keep it up to date while the block runs.
    """
    with tempfile.TemporaryDirectory(prefix="attnmon-") as above:
        copy = regular_files.resolved(above) / f"{folder.name}-model"
        merging = ModelMerging(folder, copy, with_maps=wanted(paths.MAPS))
        merging.update()
        with copy_of(shown_place(folder), copy):
            if not follow:
                yield copy
                return

            def update() -> None:
                with suppress(NoRun, OSError):  # next time
                    merging.update()

            with repeating(update):
                yield copy
