"""Files that are large, or say so, take a bounded part of memory and of time."""

import json
import os
import re
import zipfile
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from support.maps import random_weights, write_run
from support.served import Served, served
from support.viewing import Viewed

from attnmon_renderer.storage.history_reader import LONGEST_LINE
from attnmon_renderer.view.documents import MOST_TOKENS
from attnmon_renderer.view.runs.history_chunk import MOST_BYTES, BeyondEnd, read_history

STEM = "decoder_layer0_self_attn"
MOST_MEGABYTES = 200
MEBIBYTE = 1 << 20
LAYERS = 150


def everything_of(server: Served) -> Generator[tuple[int, bytes], None, None]:
    """Asks for all that the server has. Yields the codes of HTTP, and what was sent."""
    runs = json.loads((yield from asked(server, "/api/v1/runs")))
    for run in (f"/api/v1/runs/{row['id']}" for row in runs):
        yield from asked(server, f"{run}/history")
        document = json.loads((yield from asked(server, run)))
        for capture in document["captures"]:
            yield from asked(server, f"{run}/captures/{capture['c']}")
            for name in capture["pictures"]:
                yield from asked(server, f"{run}/pictures/{capture['c']}/{name}")


def asked(server: Served, address: str) -> Generator[tuple[int, bytes], None, bytes]:
    response, body = server.get(address)
    yield response.status, body
    return body


def most_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    [kilobytes] = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(kilobytes) / 1024


def large_run(folder: Path) -> Path:
    """Writes a run of which every file is as large as can be read, or larger."""
    run = write_run(folder, {1: {STEM: random_weights(1, 4, 4)}})
    lists = b"[" + b"[]," * (4 * MEBIBYTE // 3 - 100) + b"[]]"
    (run / "run.json").write_bytes(b'{"config":' + lists + b"}")
    (run / "alerts.jsonl").write_bytes(b"\n" * 20 * MEBIBYTE)
    with open(run / "history.jsonl", "ab") as history:
        history.write(b"\n" * MEBIBYTE)
        history.truncate(1 << 40)  # of which hardly a byte is on the disk
    (run / "step_1" / f"{STEM}.png").write_bytes(b"\0" * 31 * MEBIBYTE)
    with zipfile.ZipFile(run / "step_2.zip", "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr(f"{STEM}.png", bytes(80 * MEBIBYTE))
    (run / "step_3").mkdir()
    many_layers_in_one_place(run / "step_3" / "maps.safetensors")
    return run


def many_layers_in_one_place(path: Path) -> None:
    """Writes maps whose header says that many layers have the numbers of one."""
    heads, side = 64, 128
    tensors = {
        STEM: np.zeros((heads, side, side), np.uint8),
        f"{STEM}.scale": np.ones(heads, np.float32),
        f"{STEM}.thumbs": np.zeros((heads, 1, 1), np.uint8),
        f"{STEM}.allowed": np.ones((1, side, side), np.uint8),
    }
    about = {
        "format": "attnmon-maps 1", "step": "3",
        "tokens": json.dumps({"decoder": ["x"] * (MOST_TOKENS + 1)}),
    }  # fmt: skip
    own = {
        "heads": ",".join(map(str, range(heads))), "shape": f"{heads},{side},{side}",
        "query_step": "1", "key_step": "1", "causal": "false",
    }  # fmt: skip
    content = safetensors.numpy.save(tensors)
    length = int.from_bytes(content[:8], "little")
    entries = json.loads(content[8 : 8 + length])
    stems = [STEM.replace("0", str(number)) for number in range(LAYERS)]
    header = {
        "__metadata__": about | {f"{s}.{key}": value for s in stems for key, value in own.items()}
    } | {s + name.removeprefix(STEM): entries[name] for s in stems for name in tensors}
    written = json.dumps(header).encode()
    path.write_bytes(len(written).to_bytes(8, "little") + written + content[8 + length :])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="read from Linux's /proc")
def test_what_would_take_much_memory_is_left_out_and_told(tmp_path: Path) -> None:
    large_run(tmp_path / "run")
    with served(tmp_path, "--port", 0) as server:
        answers = list(everything_of(server))
        assert {status for status, _ in answers} <= {200, 422}
        assert most_megabytes(server.process.pid) < MOST_MEGABYTES
    [capture] = [json.loads(body) for _, body in answers if body.startswith(b'{"c": "3-')]
    assert capture["tokens"] is None
    assert 0 < len(capture["layers"]) < LAYERS
    told = " ".join(capture["damages"])
    assert "the tokens are left out" in told
    assert "more of it than can be sent" in told


def test_a_summary_that_is_too_large_is_no_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {1: {STEM: random_weights(1, 4, 4)}})
    viewed = Viewed([run])
    address = viewed.only_run()
    os.truncate(run / "summary.json", 1 << 40)
    assert viewed.json("/api/v1/runs") == []
    assert viewed.ask(address).status == 422


def lines_in(path: Path) -> tuple[list[bytes], int]:
    """Reads a history as a page does. Returns its lines, and how many answers it took."""
    found, cursor = b"", 0
    for answers in range(1, 1000):
        lines, after = read_history(path, cursor)
        assert len(lines) <= MOST_BYTES
        if after == cursor:
            return found.splitlines(keepends=True), answers
        found, cursor = found + lines, after
    raise AssertionError("it never ends")


def test_a_history_is_read_in_parts_and_lines_that_are_too_long_are_left_out(
    tmp_path: Path,
) -> None:
    path = tmp_path / "history.jsonl"
    assert lines_in(path) == ([], 1)
    small = [b"%d" % number * 1000 + b"\n" for number in range(1000)]
    long, longer = b"x" * MOST_BYTES + b"\n", b"y" * (LONGEST_LINE + 5) + b"\n"
    path.write_bytes(b"".join([*small, long, *small, longer, *small, b"torn"]))
    found, answers = lines_in(path)
    assert found == 3 * small
    assert answers < 20
    size = path.stat().st_size
    assert read_history(path, size - 2) == (b"", size - 2)
    with open(path, "ab") as history:
        history.write(b" no more\nnext\n")
    assert read_history(path, size - 2).lines == b"next\n"
    with pytest.raises(BeyondEnd):
        read_history(path, path.stat().st_size + 1)


def test_a_cursor_in_the_middle_of_a_line_goes_on_with_the_next(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(b"one\ntwo\nthree\n")
    for cursor, lines in ((1, b"two\nthree\n"), (4, b"two\nthree\n"), (5, b"three\n"), (14, b"")):
        assert read_history(path, cursor).lines == lines
