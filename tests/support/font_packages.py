"""Fonts that tests need and a machine may lack: installed where that may be done."""

import os
import shutil
import subprocess
from functools import cache

import pytest

from attnmon_renderer.drawing.spec.page import Font
from attnmon_renderer.drawing.text.fonts import missing_characters

PACKAGES = {"中": "fonts-noto-cjk", "🤖": "fonts-noto-color-emoji", "ह": "fonts-noto-core"}
"""Debian's packages, by a character that each brings."""
IN_TEN_SCRIPTS = (
    "注意力", "データ", "토큰", "مرحبا", "क्षत्रिय", "น้ำ", "🤖", "বাংলা", "ქართული", "שלום",
)  # fmt: skip


def require_fonts() -> None:
    """Install the fonts if this may be done; otherwise skip the test, which names what lacks."""
    lacking = missing_characters(PACKAGES, Font(20))
    if lacking and not _install(tuple(PACKAGES[character] for character in lacking)):
        pytest.skip(f"no font has {' '.join(lacking)}: {', '.join(map(PACKAGES.get, lacking))}")


@cache
def _install(packages: tuple[str, ...]) -> bool:
    """Install Debian packages, as root in CI alone: nobody else asked for them."""
    if os.geteuid() or not os.environ.get("CI") or not shutil.which("apt-get"):
        return False
    commands = (["apt-get", "update"], ["apt-get", "install", "--yes", *packages])
    return all(subprocess.run(command, capture_output=True).returncode == 0 for command in commands)
