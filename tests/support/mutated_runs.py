"""Damages a small run in every way, and asks a server for all of it each time.

    PYTHONPATH=tests python -m support.mutated_runs 10000

prints how it answered and what memory it took.
"""

import json
import random
import resource
import shutil
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.asgi import Response
from support.maps import random_weights, write_run
from support.viewing import Viewed

STEM = "decoder_layer0_self_attn"
LAYERS = {STEM: random_weights(2, 6, 6), "decoder_layer0_cross_attn": random_weights(2, 6, 4)}
ALERT = {"id": "1", "rule": "loss_spike", "severity": "warn", "state": "firing", "step": 1}
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 1 << 31, 1 << 63, 1 << 70, 1e300, -0.0, "", "1", "x" * 5000, "\ud800",
    "\0", "../../secret", "/etc/passwd", [], [[]], {}, {"": {}}, [None], [1] * 3, [1, 2], "1,2,3",
)  # fmt: skip
ODD_BYTES = (
    b"", b"\0" * 100, b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b"NaN", b"1" + b"0" * 5000,
    b'{"config": 1e999}', b'"', b"\n" * 100_000, b"{}", b"null", b"\xed\xa0\x80", b"PK\x05\x06",
)  # fmt: skip

Mutation = Callable[[random.Random, bytes], bytes]


def flipped(chance: random.Random, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(chance.choice((1, 1, 8, 200))):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def flipped_at_the_start(chance: random.Random, content: bytes) -> bytes:
    """As `flipped`, where the lengths and the names stand."""
    head = min(len(content), 2000)
    return flipped(chance, content[:head]) + content[head:]


def cut(chance: random.Random, content: bytes) -> bytes:
    return content[: chance.randrange(len(content))]


def odd_bytes(chance: random.Random, content: bytes) -> bytes:
    return chance.choice(ODD_BYTES)


def doubled(chance: random.Random, content: bytes) -> bytes:
    first, end = sorted(chance.choices(range(len(content) + 1), k=2))
    return content[:end] + content[first:end] * chance.randint(1, 3) + content[end:]


def odd_value(chance: random.Random, content: bytes) -> bytes:
    """One value of the JSON in it has become something else."""
    start = 8 if content[:1] != b"{" else 0
    length = int.from_bytes(content[:8], "little") if start else len(content)
    try:
        document = json.loads(content[start : start + length].splitlines()[0])
    except (ValueError, IndexError):
        return flipped(chance, content)
    _put_something_odd(chance, document)
    written = json.dumps(document).encode()
    head = len(written).to_bytes(8, "little") if start else b""
    return head + written + content[start + length :] + b"\n" * (not start)


def _put_something_odd(chance: random.Random, document: Any) -> None:
    holder = document
    while True:
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        if not keys:
            return
        key = chance.choice(list(keys))
        inner = holder[key]
        if isinstance(inner, str) and inner[:1] in "{[" and inner and chance.random() < 0.3:
            holder[key] = inner[: chance.randrange(len(inner))]
            return
        if not isinstance(inner, dict | list) or chance.random() < 0.3:
            holder[key] = chance.choice(ODD)
            return
        holder = inner


MUTATIONS: tuple[Mutation, ...] = (
    flipped, flipped_at_the_start, cut, odd_bytes, doubled, odd_value, odd_value, odd_value,
)  # fmt: skip


def look_at(count: int, seed: int, folder: Path) -> Counter[int]:
    """Shows that many damaged runs. Returns how often the server gave each code of HTTP."""
    chance, answers = random.Random(seed), Counter[int]()
    whole = _whole_run(folder)
    names = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    shown = folder / "shown"
    shutil.copytree(whole, shown)
    for _ in range(count):
        damaged = chance.sample(names, chance.choice((1, 1, 2, 4)))
        for name in damaged:
            content = (whole / name).read_bytes()
            (shown / name).write_bytes(chance.choice(MUTATIONS)(chance, content))
        viewed = Viewed([shown])
        answers.update(answer.status for answer in _ask_for_all(viewed))
        for name in damaged:
            (shown / name).write_bytes((whole / name).read_bytes())
    return answers


def _whole_run(folder: Path) -> Path:
    tokens = {"decoder": list("abcdef"), "encoder": list("abcd")}
    run = write_run(folder / "whole", {1: LAYERS, 2: LAYERS}, tokens=tokens)
    (run / "step_1" / f"{STEM}.png").write_bytes(b"a picture")
    (run / "alerts.jsonl").write_text(json.dumps(ALERT) + "\n")
    with zipfile.ZipFile(run / "step_2.zip", "w") as pack:
        for path in (run / "step_2").iterdir():
            pack.write(path, path.name)
    shutil.rmtree(run / "step_2")
    return run


def _ask_for_all(viewed: Viewed) -> list[Response]:
    """Asks for all that a page could."""
    listed = viewed.ask("/api/v1/runs")
    found = [listed]
    for row in json.loads(listed.body):
        run = f"/api/v1/runs/{row['id']}"
        described = viewed.ask(run)
        found.append(viewed.ask(f"/api/v1/compare?a={row['id']}&b={row['id']}"))
        found += [described, viewed.ask(f"{run}/history?after=9")]
        captures = json.loads(described.body)["captures"] if described.status == 200 else []
        for capture in captures:
            address = f"{run}/captures/{capture['c']}"
            found += [viewed.ask(address), viewed.ask(f"{address}/{STEM}/thumbs"),
                      viewed.ask(f"{address}/all/thumbs"),
                      viewed.ask(f"{address}/{STEM}/1"), viewed.ask(f"{address}/{STEM}/mean"),
                      viewed.ask(f"{run}/pictures/{capture['c']}/{STEM}.png")]  # fmt: skip
    return found


def main() -> None:
    count = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        answers = look_at(count, seed=0, folder=Path(folder))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = f"{count} damaged runs, {sum(answers.values())} answers: {dict(answers)}"
    sys.stdout.write(f"{told}, {memory:.0f} MB\n")


if __name__ == "__main__":
    main()
