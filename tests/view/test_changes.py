"""Who listens is told of each change, once it is there, and of nothing else."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.asgi import run_apart
from support.maps import capture_record, random_weights, write_run

from attnmon_renderer.view import changes as module
from attnmon_renderer.view.changes import Changes
from attnmon_renderer.view.runs.run_index import RunIndex, key_of

LAYERS = {"decoder_layer0_self_attn": random_weights(1, 3, 3)}


def made_run(folder: Path) -> str:
    """Writes a run. Returns its key."""
    return key_of(write_run(folder, {0: LAYERS}, state="running"))


def go_on(folder: Path) -> int:
    """Adds a capture. Returns the bytes of the history."""
    with open(folder / "history.jsonl", "a") as history:
        history.write(json.dumps(capture_record(1, LAYERS, 0.5)) + "\n")
        return history.tell()


def test_only_what_has_changed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = made_run(tmp_path / "a"), made_run(tmp_path / "b")
    watched = {first}
    monkeypatch.setattr(module, "OTHERS_SECONDS", 0.0)
    changes = Changes(RunIndex([tmp_path]), watched)
    assert {event["run"] for event in changes.look()} == {first, second}
    assert changes.look() == []
    size = go_on(tmp_path / "b")
    assert changes.look() == [{"run": second, "cursor": size, "state": "running"}]
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    (tmp_path / "a" / "summary.json").write_text(json.dumps({**summary, "state": "closed"}))
    [event] = changes.look()
    assert (event["run"], event["state"]) == (first, "closed")
    shutil.rmtree(tmp_path / "a")
    assert changes.look() == [{"run": first, "cursor": 0, "state": "gone"}]
    assert changes.look() == []


def test_runs_that_nobody_asked_for_are_looked_at_more_rarely(tmp_path: Path) -> None:
    first, second = made_run(tmp_path / "a"), made_run(tmp_path / "b")
    watched: set[str] = set()
    changes = Changes(RunIndex([tmp_path]), watched)
    changes.look()
    for name in ("a", "b"):
        go_on(tmp_path / name)
    assert changes.look() == []
    watched.add(second)
    assert [event["run"] for event in changes.look()] == [second]
    assert first not in watched


def events_in(chunk: bytes) -> list[dict[str, Any]]:
    lines = chunk.decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def test_a_stream_tells_how_all_stand_then_each_change_and_ends_with_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {made_run(tmp_path / name) for name in ("a", "b")}
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "OTHERS_SECONDS", 0.0)
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.05)
    ending: list[bool] = []
    changes = Changes(RunIndex([tmp_path]), set(), lambda: bool(ending))

    async def listen() -> None:
        polling = asyncio.create_task(changes.poll_forever())
        stream = changes.stream()
        assert await anext(stream) == b"retry: 2000\n\n"
        assert {event["run"] for event in events_in(await anext(stream))} == keys
        size = go_on(tmp_path / "b")
        while not (told := [e for e in await next_events(stream) if e["cursor"] == size]):
            pass
        assert [event["run"] for event in told] == [key_of(tmp_path / "b")]
        assert await until_silent(stream) == b": still here\n\n"
        monkeypatch.setattr(module, "BEAT_SECONDS", 1e6)
        rest = asyncio.create_task(all_of(stream))
        await asyncio.sleep(0)
        ending.append(True)
        assert await rest == []
        await polling

    run_apart(listen())


async def all_of(stream: AsyncIterator[bytes]) -> list[bytes]:
    return [chunk async for chunk in stream]


async def next_events(stream: AsyncIterator[bytes]) -> list[dict[str, Any]]:
    return events_in(await anext(stream))


async def until_silent(stream: AsyncIterator[bytes]) -> bytes:
    while events_in(chunk := await anext(stream)):
        pass
    return chunk


def test_a_client_that_is_slow_is_told_the_latest_of_each_run() -> None:
    async def listen() -> list[dict[str, Any]]:
        subscription = module.Subscription()
        for cursor in range(1000):
            subscription.put({"run": "a", "cursor": cursor})
        subscription.put({"run": "b", "cursor": 1})
        return await subscription.take(1.0)

    assert run_apart(listen()) == [{"run": "a", "cursor": 999}, {"run": "b", "cursor": 1}]
