"""Finds the code of the guide, which tests run as written."""

import re

from support.project import PROJECT

GUIDE = PROJECT / "docs" / "guide.md"


def code_in(section: str) -> str:
    """Returns the only Python snippet of a section of the guide."""
    text = GUIDE.read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    [code] = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return str(code)
