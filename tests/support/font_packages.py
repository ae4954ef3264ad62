"""Fonts that tests need and a machine may lack."""

import pytest

from attnmon_renderer.drawing.spec.page import Font
from attnmon_renderer.drawing.text.fonts import missing_characters

PACKAGES = {"中": "fonts-noto-cjk", "🤖": "fonts-noto-color-emoji", "ह": "fonts-noto-core"}
"""Debian's packages, by a character that each brings."""
IN_TEN_SCRIPTS = (
    "注意力", "データ", "토큰", "مرحبا", "क्षत्रिय", "น้ำ", "🤖", "বাংলা", "ქართული", "שלום",
)  # fmt: skip


def require_fonts() -> None:
    """Skip the test, which names the packages, where a font lacks; `make fonts` installs them."""
    lacking = missing_characters(PACKAGES, Font(20))
    if lacking:
        pytest.skip(f"install {' '.join(PACKAGES[character] for character in lacking)}")
