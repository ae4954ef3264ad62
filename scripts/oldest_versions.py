"""Print the oldest releases that pyproject.toml admits of what attnmon needs, as constraints."""

import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def main() -> None:
    for requirement in tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]:
        print(requirement.replace(">=", "==", 1))


if __name__ == "__main__":
    main()
