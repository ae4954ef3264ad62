"""The picture that goes with a message about an alert, where pictures were asked for."""

import zipfile
from pathlib import Path
from typing import NamedTuple

from attnmon.link.records.alert import Alert
from attnmon_renderer.storage import packed_step, paths, regular_files

MOST_BYTES = 8 << 20
"""Discord takes 10 MiB."""
_MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".pdf": "application/pdf"}


class Attachment(NamedTuple):
    """A picture, as it is sent."""

    name: str
    """Its path below the run's directory, which says its step."""
    content: bytes

    @property
    def file_name(self) -> str:
        """Its name as one file: "step_1200_decoder_layer2_self_attn.png"."""
        return self.name.replace(paths.PACKED, "").replace("/", "_")

    @property
    def media_type(self) -> str:
        """What it is, such as "image/png"."""
        return _MEDIA_TYPES[Path(self.name).suffix]


def read_attachment(save_dir: Path, alert: Alert) -> Attachment | None:
    """Return the first picture that an alert names and that is there; None if there is none."""
    for name in alert.pictures:
        try:
            return Attachment(name, _read(save_dir / name))
        except (OSError, zipfile.BadZipFile):
            continue  # it was removed for space, or is too large
    return None


def _read(path: Path) -> bytes:
    if path.parent.suffix == paths.PACKED:
        return packed_step.read_member(path.parent, path.name, MOST_BYTES)
    return regular_files.read(path, MOST_BYTES)
