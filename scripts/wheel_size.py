"""Count what live views, comparisons and stored maps add to the wheel, part by part.

    python scripts/wheel_size.py [--files]

The wheel is built as for a release, in a temporary folder. What a part adds is the wheel's size
less that of the same wheel without the files of the part and their lines in RECORD. No time is
measured: the same source has the same count. `--files` lists each file as well.
"""

import argparse
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PROJECT = Path(__file__).parent.parent
MOST = 150_000
PARTS = {
    "store of maps": ("maps/",),
    "attnmon view: server": ("view/", "commands/view.py"),
    "attnmon view: page": ("view/page/",),
    "attnmon compare": ("compare/", "commands/compare.py"),
    "maps in the report": ("report/map", "html_parts.py", "inlined_answers.py"),
}
"""A file belongs to the part whose path is the longest of those that it begins with."""


def build(folder: Path) -> Path:
    """Build the wheel; returns its path."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*command, str(PROJECT)], check=True, stdout=subprocess.DEVNULL)
    [wheel] = folder.glob("*.whl")
    return wheel


def read(wheel: Path) -> dict[str, bytes]:
    """Return the content of each file of the wheel by its name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def size(files: dict[str, bytes]) -> int:
    """Return the bytes of a wheel of these files, as it is packed when it is built."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return len(buffer.getvalue())


def without(files: dict[str, bytes], names: set[str]) -> dict[str, bytes]:
    """Return the files but some, whose lines are not in RECORD either."""
    left = {name: content for name, content in files.items() if name not in names}
    [record] = (name for name in files if name.endswith("/RECORD"))
    lines = files[record].splitlines(keepends=True)
    left[record] = b"".join(line for line in lines if line.split(b",")[0].decode() not in names)
    return left


def part_of(name: str) -> str:
    """Return the part that a file belongs to; empty for a file of none."""
    path = name.removeprefix("attnmon_renderer/")
    found = [
        (len(prefix), part)
        for part, prefixes in PARTS.items()
        for prefix in prefixes
        if path.startswith(prefix)
    ]
    return max(found, default=(0, ""))[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", action="store_true", help="list each file as well")
    with_files = parser.parse_args().files
    with tempfile.TemporaryDirectory() as folder:
        files = read(build(Path(folder)))
    whole = size(files)
    parts = {part: {name for name in files if part_of(name) == part} for part in PARTS}
    parts["together"] = set().union(*parts.values())
    print(f"{'the wheel':28}{len(files):6,} files{whole:10,} bytes")
    for part, names in parts.items():
        if with_files and part != "together":
            for name in sorted(names):
                print(f"    {name:60}{whole - size(without(files, {name})):10,}")
        print(f"{part:28}{len(names):6,} files{whole - size(without(files, names)):10,} bytes")
    print(f"goal: at most {MOST:,} bytes")


if __name__ == "__main__":
    main()
