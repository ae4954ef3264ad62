"""The commands on directories that are damaged, or made to do harm: a line, and never a crash."""

import io
import json
import random
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import support.pictures  # noqa: F401  # opens matplotlib's fonts before the leak check of a test
from support.models import LanguageModel, batch
from support.outputs import strict_json

from attnmon import TrainingAttentionMonitor
from attnmon_renderer.commands import main
from attnmon_renderer.storage import history_reader, packed_step

RAW = "attention_weights.safetensors"
MUTATIONS = 60
ODD: tuple[Any, ...] = (
    None, True, -1, 1 << 70, 1e300, -0.0, "", "1", "\ud800", "\0", [], [[]], {}, {"": {}}, [None],
)  # fmt: skip
ODD_TEXT = (
    b"", b"\0" * 100, b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b"NaN", b"1" + b"0" * 5000,
    b'{"captured": 1' + b"0" * 400 + b"}", b'"', b'{"settings": ' + b"[" * 900 + b"]" * 900 + b"}",
)  # fmt: skip


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a folder and a zip file, raw weights and a history; to be read only."""
    folder = tmp_path_factory.mktemp("whole")
    model = LanguageModel()
    for step, pack in ((0, False), (1, True)):
        kinds = ["heatmap", "statistics"]
        with TrainingAttentionMonitor(
            folder, 1, visualization_types=kinds, save_raw_weights=True, pack=pack,
            use_tensorboard=False,
        ) as monitor:  # fmt: skip
            monitor.log_attention(model, batch(), step=step, loss=0.5)
    return folder


@pytest.fixture
def run(whole_run: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(whole_run, tmp_path / "run")


class Said:
    """Runs commands in this process; what they say must be whole lines, and no traceback."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.error = ""

    def __call__(self, *command: object) -> int:
        code = main(list(map(str, command)))
        out, self.error = self._capsys.readouterr()
        assert code in (0, 1, 2)
        assert (code == 2) <= bool(self.error), "it says why"
        assert all(line.startswith("attnmon ") for line in self.error.splitlines())
        assert "Traceback" not in self.error
        if "--json" in command and code < 2:
            assert strict_json(out)["directory"]
        return code

    def all_of(self, run: Path) -> None:
        self("status", run)
        self("status", run, "--json")
        self("report", run)
        self("render", run, "--jobs", 1, "--kinds", "timeline")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(capsys)


def odd_documents(content: Any, generator: random.Random) -> Iterator[Any]:
    """Yields the document over and over, each time with something odd in one place."""
    while True:
        copy = json.loads(json.dumps(content))
        place, key = generator.choice(list(places_in(copy)))
        place[key] = generator.choice(ODD)
        yield copy


def places_in(content: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(content) if isinstance(content, dict) else range(len(content))
    for key in keys:
        yield content, key
        if isinstance(content[key], dict | list):
            yield from places_in(content[key])


def test_odd_values_anywhere_in_the_json_are_left_out(run: Path, said: Said) -> None:
    generator = random.Random(0)
    summary, history = run / "summary.json", run / "history.jsonl"
    lines = history.read_text().splitlines()
    summaries = odd_documents(json.loads(summary.read_text()), generator)
    captures = odd_documents(json.loads(lines[0]), generator)
    for _ in range(MUTATIONS):
        summary.write_text(json.dumps(next(summaries)))
        history.write_text("\n".join([json.dumps(next(captures)), *lines]) + "\n")
        said.all_of(run)


def test_whatever_stands_in_a_file_it_is_read_or_named(run: Path, said: Said) -> None:
    whole = {name: (run / name).read_bytes() for name in ("summary.json", "history.jsonl")}
    for name, content in whole.items():
        for odd in ODD_TEXT:
            (run / name).write_bytes(odd + b"\n")
            said.all_of(run)
        (run / name).write_bytes(content)


def test_flipped_bits_and_missing_ends_are_left_out(run: Path, said: Said) -> None:
    generator = random.Random(1)
    names = [
        path for path in run.rglob("*") if path.suffix in (".json", ".jsonl", ".png", ".zip")
    ]  # fmt: skip
    for _ in range(MUTATIONS):
        path = generator.choice(names)
        content = path.read_bytes()
        path.write_bytes(damaged(content, generator))
        said("status", run)
        said("report", run)
        path.write_bytes(content)


def test_damaged_raw_weights_are_named(run: Path, said: Said) -> None:
    generator = random.Random(2)
    path = run / "step_0" / RAW
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    for _ in range(MUTATIONS // 3):
        broken = damaged(content[:header], generator)
        path.write_bytes(broken + content[header:] * (len(broken) == header))
        said("render", run, "--jobs", 1, "--steps", 0)
    about = json.loads(content[8:header])
    for document in islice(odd_documents(about, generator), 40):
        written = json.dumps(document).encode()
        path.write_bytes(len(written).to_bytes(8, "little") + written + content[header:])
        said("render", run, "--jobs", 1, "--steps", 0)
    for odd in ODD_TEXT:
        path.write_bytes(len(odd).to_bytes(8, "little") + odd)
        said("render", run, "--jobs", 1, "--steps", 0)
        path.write_bytes((1 << 62).to_bytes(8, "little") + odd)
        said("render", run, "--jobs", 1, "--steps", 0)


def damaged(content: bytes, generator: random.Random) -> bytes:
    """Returns the content with some bits flipped, or cut short."""
    if generator.random() < 0.2:
        return content[: generator.randrange(len(content))]
    flipped = bytearray(content)
    for _ in range(generator.choice((1, 1, 8, 200))):
        flipped[generator.randrange(len(flipped))] ^= 1 << generator.randrange(8)
    return bytes(flipped)


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def png_of(side: int) -> bytes:
    """A PNG that says it is a square of so many pixels, and has one byte of them."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"0")), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def pack_of(content: bytes, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as pack:
        pack.writestr("x.png", content)
    return buffer.getvalue()


def encrypted() -> bytes:
    pack = bytearray(pack_of(b"A" * 100))
    pack[6] |= 1  # the flag in the member's own header, and in the list of members
    pack[pack.index(b"PK\x01\x02") + 8] |= 1
    return bytes(pack)


def of_unknown_compression() -> bytes:
    pack = bytearray(pack_of(b"A" * 100))
    pack[pack.index(b"PK\x01\x02") + 10] = 99
    return bytes(pack)


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a picture of 60,000 x 60,000": ("step_9/x.png", lambda: png_of(60_000)),
    "one of 12,000 x 12,000, which Pillow warns of": ("step_9/x.png", lambda: png_of(12_000)),
    "one of 9,000 x 9,000": ("step_9/x.png", lambda: png_of(9_000)),
    "no SVG": ("step_9/x.svg", lambda: b"-----BEGIN OPENSSH PRIVATE KEY-----"),
    "a member of 80 MB": ("step_9.zip", lambda: pack_of(bytes(80 << 20))),
    "an encrypted member": ("step_9.zip", encrypted),
    "an unknown compression": ("step_9.zip", of_unknown_compression),
    "not a zip": ("step_9.zip", lambda: b"PK" * 100),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_is_no_picture_is_left_out_and_told(run: Path, said: Said, bomb: str) -> None:
    name, make = BOMBS[bomb]
    (run / "step_9").mkdir()
    (run / name).write_bytes(make())
    assert said("report", run) == 0
    assert name in said.error
    assert "left out" in said.error
    assert "left out" in (run / "report.html").read_text()


def test_the_members_of_a_zip_are_listed_only_if_they_are_few(tmp_path: Path) -> None:
    """The list is read at once, however long the file says it is."""
    path = tmp_path / "step_1.zip"
    content = bytearray(pack_of(b"A" * 100, zipfile.ZIP_STORED))
    content[-10:-6] = struct.pack("<I", packed_step.MOST_LIST_BYTES + 1)
    path.write_bytes(bytes(content))
    with pytest.raises(zipfile.BadZipFile, match="not the zip file of a step"):
        packed_step.members(path)


def test_a_link_is_left_out_and_told(run: Path, said: Said, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("<svg secret")
    (run / "step_0" / "x.svg").symlink_to(tmp_path / "secret")
    (run / "step_5").symlink_to(run / "step_0")
    assert said("report", run) == 0
    assert f"{run / 'step_0' / 'x.svg'} is left out" in said.error
    assert f"{run / 'step_5'} is left out" in said.error
    assert "PHN2ZyBzZWNyZXQ" not in (run / "report.html").read_text()


def test_a_device_is_not_replaced_by_a_report(run: Path, said: Said) -> None:
    assert said("report", run, "--out", "/dev/null") == 2
    assert "/dev/null is a device" in said.error


def test_a_history_without_end_is_read_to_a_bound(
    run: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_reader, "MOST_HISTORY_BYTES", 1 << 28)
    with open(run / "history.jsonl", "ab") as file:
        file.truncate(1 << 40)  # of which hardly a byte is on the disk
    assert said("status", run) == 0
    assert said("report", run) == 0
    assert "it is too long" in said.error
    with open(run / "summary.json", "ab") as file:
        file.truncate(1 << 40)
    assert said("status", run) == 2
