"""Sizes as people write them: bytes, or "500 MB"."""

import re
from typing import Any

_UNITS = {"": 1, "B": 1} | {
    f"{prefix}{infix}B": base**power
    for infix, base in (("", 1000), ("i", 1024))
    for power, prefix in enumerate("KMGT", start=1)
}


def size(name: str, given: Any) -> int:
    """Bytes, 1 or more. Raises TypeError for what is neither number nor text, else ValueError."""
    if isinstance(given, bool) or not isinstance(given, int | str):
        raise TypeError(f"{name}={given!r}: give bytes as a whole number, or text such as '2 GB'")
    number, unit = _parts(name, str(given))
    nbytes = int(number * _UNITS[unit])
    if nbytes < 1:
        raise ValueError(f"{name}={given!r}: must be 1 byte or more")
    return nbytes


def _parts(name: str, text: str) -> tuple[float, str]:
    found = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    unit = found[2].upper().replace("I", "i") if found else "?"
    if found is None or unit not in _UNITS:
        units = ", ".join(filter(None, _UNITS))
        raise ValueError(f"{name}={text!r}: give a number and one of {units}, such as '500 MB'")
    return float(found[1]), unit
