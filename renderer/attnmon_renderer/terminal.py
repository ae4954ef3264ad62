"""Text for a terminal: what comes from a run's files and messages is data, never control."""


def harmless(text: object) -> str:
    """The text in one line, with nothing in it that a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in str(text))


def ago(seconds: float) -> str:
    """A duration in the unit that fits it."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def table(rows: dict[str, str]) -> str:
    """Names and values, the values below each other."""
    width = max(map(len, rows), default=0)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows.items())
