"""Keeps the results of a scan in a file, a line for each, so that it can be cut off and resumed."""

import json
from pathlib import Path
from typing import Any


class Results:
    """Results by the architecture's name; the last of a name counts."""

    def __init__(self, path: Path | None, *, resume: bool) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self._path = path
        if path is not None and resume and path.exists():
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                self.found[entry.pop("name")] = entry
        elif path is not None:
            path.write_text("")

    def add(self, name: str, result: dict[str, Any], seconds: float) -> None:
        """Stores a result, and appends it to the file at once."""
        self.found[name] = {**result, "seconds": round(seconds, 2)}
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps({"name": name, **self.found[name]}) + "\n")
