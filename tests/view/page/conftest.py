"""One browser and one server for all tests of the page."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.browsing import NARROW, WIDE, Look, started, why_no_browser
from support.leftovers import end_processes, everything, new_of
from support.maps import random_weights, write_run
from support.served import Served, served

GRACE_SECONDS = 60.0
TEXT = list("defaultvalue")
STEPS = (0, 20, 40, 60)


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> None:
    """A browser keeps processes between pages: what is left is looked for when it has ended."""


@pytest.fixture(scope="session")
def browser(own_temporary_directory: None) -> Iterator[Any]:
    if why := why_no_browser():
        pytest.skip(why)
    before = everything()
    with started() as browser:
        yield browser
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := new_of(everything(), before)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(end_processes(sorted(left))) == []


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs: one to look at, one to compare it with, and one with long sequences."""
    runs = tmp_path_factory.mktemp("runs")
    for name, seed in (("first", 0), ("second", 100)):
        captures = {step: layers(seed + step) for step in STEPS}
        tokens = {"encoder": TEXT[:9], "decoder": TEXT}
        write_run(runs / name, captures, tokens=tokens, settings={"learning_rate": seed})
    pooled = {"decoder_layer0_self_attn": random_weights(2, 300, 300, causal=True)}
    write_run(runs / "long", {0: pooled})
    return runs


def layers(seed: int) -> dict[str, np.ndarray[Any, Any]]:
    return {
        "encoder_layer0_self_attn": random_weights(3, 9, 9, seed + 1),
        "decoder_layer0_self_attn": random_weights(3, 12, 12, seed + 2, causal=True),
        "decoder_layer0_cross_attn": random_weights(3, 12, 9, seed + 3),
        "decoder_layer1_cross_attn": random_weights(3, 12, 9, seed + 4),
    }


@pytest.fixture(scope="session")
def server(folder: Path, browser: object) -> Iterator[Served]:
    with served(folder, "--port", 0) as server:
        yield server


@pytest.fixture(scope="session")
def ids(server: Served) -> dict[str, str]:
    """The runs' names in addresses by their titles."""
    import json

    _, body = server.get("/api/v1/runs")
    return {row["title"].rpartition("/")[2]: row["id"] for row in json.loads(body)}


@pytest.fixture
def look(browser: Any, server: Served) -> Iterator[Callable[..., Look]]:
    """Opens pages; each fails the test if there was an error or a foreign request in it."""
    made: list[Look] = []

    def make(size: tuple[int, int] = WIDE, scheme: str = "light", at: Served = server) -> Look:
        width, height = size
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            has_touch=size == NARROW,
        )
        made.append(Look(context.new_page(), at))
        return made[-1]

    yield make
    for each in made:
        each.end()
