"""What a client sends leads nowhere, and what stands in a run's directory does no harm."""

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.maps import random_weights, write_run
from support.mutated_runs import look_at
from support.viewing import Viewed

from attnmon_renderer.storage.regular_files import NotRegular
from attnmon_renderer.storage.run_reader import NoRun
from attnmon_renderer.view.runs.local_run import LocalRun

STEM = "decoder_layer0_self_attn"
LAYERS = {STEM: random_weights(2, 6, 6), "decoder_layer0_cross_attn": random_weights(2, 6, 4)}
SECRET = b"-----BEGIN OPENSSH PRIVATE KEY-----"
DOTS = (
    "..", "%2e%2e", "%252e%252e", ".%2e", "..%00", "..;", "…", "%c0%ae%c0%ae", "%uff0e%uff0e",
    "....//",
)  # fmt: skip
SLASHES = ("/", "%2f", "%5c", "\\", "%252f", "//")
TRAVERSALS = (
    *(f"{dots}{slash}secret" for dots, slash in itertools.product(DOTS, SLASHES)),
    "/secret", "%2fsecret", "file:///secret", "~/secret", "secret%00.png", "", ".", "*", "$HOME",
    "a" * 5000, "\0", "-1", "0x1", "con",
)  # fmt: skip
MUTATIONS = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run beside a secret, which is also what a client would like to read."""
    above = tmp_path_factory.mktemp("above")
    run = write_run(above / "run", {1: LAYERS}, tokens={"decoder": list("abcdef")})
    (run / "step_1" / f"{STEM}.png").write_bytes(b"a picture")
    for place in (above, run, run / "step_1"):
        (place / "secret").write_bytes(SECRET)
    return run


def addresses(viewed: Viewed) -> Iterator[str]:
    """Yields the address of each route, with a place for what a client may send."""
    run, capture = viewed.only_run(), viewed.captures()[1]
    key = capture.rpartition("/")[2]
    yield from (
        "/{}", "/app/{}", "/app/0/{}", "/app/{}/index.html", "/latest/{}", "/api/v1/runs/{}",
        "/api/v1/runs/{}/history", run + "/captures/{}", run + "/history?after={}",
        run + "?after={}",
        run + "/{}", capture + "/{}", capture + "/{}/thumbs", capture + "/{}/0",
        capture + "/" + STEM + "/{}", run + "/pictures/{}/" + STEM + ".png",
        run + "/pictures/" + key + "/{}", "/api/v1/events/{}", "/api/v1/compare?a={}",
        f"/api/v1/compare?a={run.rpartition('/')[2]}&b={{}}", "/?t={}", "/?run={}",
    )  # fmt: skip


def test_there_are_enough_of_them() -> None:
    assert len(set(TRAVERSALS)) >= 60


def test_what_a_client_sends_is_never_a_path(folder: Path) -> None:
    viewed = Viewed([folder])
    served = {viewed.ask("/").body, viewed.ask(viewed.only_run()).body}
    served.add(viewed.ask(viewed.only_run() + "/history").body)
    for address in addresses(viewed):
        for traversal in TRAVERSALS:
            answer = viewed.ask(address.format(traversal))
            assert answer.status in (200, 303, 400, 404), (address, traversal)
            assert SECRET not in answer.body
            if answer.status == 200:
                assert answer.body in served, (address, traversal)


def test_links_that_were_planted_are_not_followed(tmp_path: Path) -> None:
    """Whoever may write into a run's directory would have the server read what only it can."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "x.png").write_bytes(SECRET)
    shutil.copytree(write_run(tmp_path / "made", {1: LAYERS}), tmp_path / "shown" / "run")
    run = tmp_path / "shown" / "run"
    (run / "step_1" / f"{STEM}.png").symlink_to(secret / "x.png")
    (run / "step_2").symlink_to(secret)
    (run / "step_3.zip").symlink_to(secret / "x.png")
    (run / "step_4").mkdir()
    (run / "step_4" / "maps.safetensors").symlink_to(tmp_path / "made/step_1/maps.safetensors")
    (run / "alerts.jsonl").symlink_to(secret / "x.png")
    os.mkfifo(run / "step_4" / "pipe.png")
    (tmp_path / "shown" / "other").symlink_to(tmp_path / "made")
    viewed = Viewed([tmp_path / "shown"])
    document = viewed.json(viewed.only_run())
    assert [(row["folder"], row["maps"], row["pictures"]) for row in document["captures"]] == [
        ("step_1", True, []), ("step_4", False, []),
    ]  # fmt: skip
    for capture in viewed.captures().values():
        for name in ("x.png", f"{STEM}.png", "pipe.png", "..%2fx.png"):
            pictures = capture.replace("/captures/", "/pictures/")
            assert viewed.ask(f"{pictures}/{name}").status == 404


def test_a_link_put_in_the_place_of_a_file_is_not_followed(folder: Path, tmp_path: Path) -> None:
    """Between the look at a folder and the reading of what is in it."""
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    source = LocalRun(run)
    [capture] = source.captures().values()
    for name in (f"step_1/{STEM}.png", "step_1/maps.safetensors", "history.jsonl", "summary.json"):
        (run / name).unlink()
        (run / name).symlink_to(run / "secret")
    with pytest.raises(NotRegular):
        source.picture(capture, f"{STEM}.png")
    with pytest.raises(NotRegular):
        source.maps(capture)
    with pytest.raises(NotRegular):
        source.history(0)
    with pytest.raises(NoRun):
        source.read()
    (run / "step_1").rename(run / "away")
    (run / "step_1").symlink_to(folder / "step_1")
    with pytest.raises(NotRegular):
        source.picture(capture, f"{STEM}.png")


def test_damaged_runs_are_answered_without_a_crash(tmp_path: Path) -> None:
    answers = look_at(MUTATIONS, seed=1, folder=tmp_path)
    assert answers.keys() <= {200, 404, 416, 422}
    assert answers[200] > 4 * MUTATIONS, "most of a run is shown"
    assert answers[422] > 0
