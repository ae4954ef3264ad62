"""What the server answers about a run, compared with what was written."""

import gzip
import json
import math
import os
import platform
from pathlib import Path

import numpy as np
import pytest
from support.maps import encoded, random_weights, write_run
from support.viewing import Viewed

from attnmon_renderer.commands import main

LAYERS = {
    "decoder_layer0_self_attn": random_weights(3, 9, 9, 1, causal=True),
    "decoder_layer0_cross_attn": random_weights(2, 9, 5, 2),
}
TOKENS = {"decoder": [f"Ġd{n}" for n in range(9)], "encoder": list("abcde")}
PICTURE = b"\x89PNG of one pixel"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = write_run(tmp_path_factory.mktemp("runs") / "run", {0: LAYERS, 5: LAYERS}, tokens=TOKENS)
    (run / "step_5" / "decoder_layer0_self_attn.png").write_bytes(PICTURE)
    return run


@pytest.fixture(scope="module")
def viewed(folder: Path) -> Viewed:
    return Viewed([folder.parent])


def test_a_run_is_listed_and_described(viewed: Viewed, folder: Path) -> None:
    [row] = viewed.json("/api/v1/runs")
    assert (row["title"], row["directory"], row["state"]) == ("run", str(folder), "closed")
    assert (row["step"], row["captures"], row["alive"], row["ranks"]) == (5, 2, False, None)
    run = viewed.json(viewed.only_run())
    assert run["damages"] == []
    assert [(each["stem"], each["heads"]) for each in run["layers"]] == [
        ("decoder_layer0_cross_attn", 2), ("decoder_layer0_self_attn", 3),
    ]  # fmt: skip
    assert [(each["step"], each["folder"], each["maps"]) for each in run["captures"]] == [
        (0, "step_0", True), (5, "step_5", True),
    ]  # fmt: skip


def test_what_the_summary_does_not_know_is_taken_from_the_last_capture(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {0: LAYERS, 7: LAYERS}, losses={7: 0.25})
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**summary, "last_step": None}))
    [row] = Viewed([run]).json("/api/v1/runs")
    assert (row["step"], row["loss"], row["updated"]) == (7, 0.25, 8.0)


def test_the_index_of_a_capture_has_what_its_maps_need(viewed: Viewed) -> None:
    capture = viewed.json(viewed.captures()[5])
    assert capture["tokens"] == {"decoder": [f"␣d{n}" for n in range(9)], "encoder": list("abcde")}
    layer = {each["stem"]: each for each in capture["layers"]}["decoder_layer0_cross_attn"]
    assert (layer["rows"], layer["columns"], layer["heads"]) == (9, 5, [0, 1])
    assert layer["causal"] is False
    weights = LAYERS["decoder_layer0_cross_attn"].astype(np.float64)
    assert layer["scale"] == pytest.approx(weights.max(axis=(1, 2)))


def test_a_head_is_sent_as_the_codes_that_were_stored(viewed: Viewed) -> None:
    capture = viewed.captures()[0]
    for stem, weights in LAYERS.items():
        codes, scale = encoded(weights.astype(np.float64))
        for head, code in enumerate(codes):
            sent = viewed.ask(f"{capture}/{stem}/{head}")
            assert sent.body == code.tobytes()
            assert sent.headers["x-shape"] == ",".join(map(str, code.shape))
            assert float(sent.headers["x-scale"]) == scale[head]
            assert sent.headers["cache-control"] == "private, immutable, max-age=31536000"


def test_the_mean_of_a_layer_has_a_scale_of_its_own(viewed: Viewed) -> None:
    stem = "decoder_layer0_cross_attn"
    mean = LAYERS[stem].astype(np.float64).mean(0)
    sent = viewed.ask(f"{viewed.captures()[0]}/{stem}/mean")
    codes = np.frombuffer(sent.body, np.uint8).reshape(mean.shape)
    assert float(sent.headers["x-scale"]) * (codes / 255.0) ** 2 == pytest.approx(mean, abs=0.005)
    assert "x-strongest" not in sent.headers
    received = [float(each) for each in sent.headers["x-received"].split(",")]
    assert received == pytest.approx(mean.mean(0), rel=1e-3)
    sent = viewed.ask(f"{viewed.captures()[0]}/{stem}/1")
    strongest = [int(each) for each in sent.headers["x-strongest"].split(",")]
    assert strongest == LAYERS[stem][1].argmax(1).tolist()


def test_thumbnails_are_sent_with_their_shape(viewed: Viewed) -> None:
    sent = viewed.ask(f"{viewed.captures()[0]}/decoder_layer0_self_attn/thumbs")
    assert sent.headers["x-shape"] == "3,9,9"
    own = encoded(LAYERS["decoder_layer0_self_attn"].astype(np.float64))[0].tobytes()
    assert sent.body == own
    every = viewed.ask(f"{viewed.captures()[0]}/all/thumbs").body
    rows = viewed.json(viewed.captures()[0])["layers"]
    assert len(every) == sum(math.prod(row["thumbs_shape"]) for row in rows)
    [row] = [row for row in rows if row["stem"] == "decoder_layer0_self_attn"]
    assert every[row["thumbs_at"] :][: len(own)] == own


def test_a_picture_is_sent_as_it_is(viewed: Viewed) -> None:
    run = viewed.only_run()
    [row] = [each for each in viewed.json(run)["captures"] if each["step"] == 5]
    assert row["pictures"] == ["decoder_layer0_self_attn.png"]
    sent = viewed.ask(f"{run}/pictures/{row['c']}/{row['pictures'][0]}")
    assert (sent.status, sent.body) == (200, PICTURE)
    assert sent.headers["content-type"] == "image/png"
    assert "sandbox" in sent.headers["content-security-policy"]


def test_the_history_is_sent_from_a_cursor_on(viewed: Viewed, folder: Path) -> None:
    written = (folder / "history.jsonl").read_bytes()
    run = viewed.only_run()
    sent = viewed.ask(f"{run}/history")
    assert (sent.body, sent.headers["x-cursor"]) == (written, str(len(written)))
    first = len(written.splitlines(keepends=True)[0])
    assert viewed.ask(f"{run}/history?after={first}").body == written[first:]
    assert viewed.ask(f"{run}/history?after={len(written)}").body == b""
    assert viewed.ask(f"{run}/history?after={len(written) + 1}").status == 416


def test_what_is_long_is_compressed_for_those_who_accept_it(viewed: Viewed, folder: Path) -> None:
    address = f"{viewed.only_run()}/history"
    plain = viewed.ask(address)
    assert "content-encoding" not in plain.headers
    for accepted in ("gzip", "deflate, GZIP;q=0.5"):
        packed = viewed.ask(address, accept_encoding=accepted)
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.headers["vary"] == "Accept-Encoding"
        assert packed.headers["x-cursor"] == plain.headers["x-cursor"]
        assert gzip.decompress(packed.body) == plain.body == (folder / "history.jsonl").read_bytes()
        assert len(packed.body) < len(plain.body)
    run, row = viewed.only_run(), viewed.json(viewed.only_run())["captures"][1]
    picture = viewed.ask(f"{run}/pictures/{row['c']}/{row['pictures'][0]}", accept_encoding="gzip")
    assert picture.body == PICTURE


def test_what_was_drawn_again_has_another_address(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {0: LAYERS, 5: LAYERS})
    viewed = Viewed([run])
    before = viewed.captures()
    size = len((run / "history.jsonl").read_bytes())
    assert viewed.json(f"{viewed.only_run()}?after={size + 1}")["captures"] == []
    write_run(tmp_path / "other", {5: LAYERS})
    (tmp_path / "other" / "step_5" / "maps.safetensors").replace(run / "step_5/maps.safetensors")
    after = viewed.captures()
    assert after[0] == before[0]
    assert after[5] != before[5]
    assert viewed.ask(before[5]).status == 404
    assert viewed.ask(after[5]).status == 200


def test_a_capture_that_is_still_being_drawn_is_not_shown(tmp_path: Path) -> None:
    """Its pictures and maps come one after the other; its line of the history comes last."""
    run = write_run(tmp_path / "run", {0: LAYERS, 5: LAYERS})
    summary = json.loads((run / "summary.json").read_text())
    going_on = {"state": "running", "host": platform.node(), "pids": [os.getpid()]}
    (run / "summary.json").write_text(json.dumps({**summary, **going_on}))
    first, second = (run / "history.jsonl").read_text().splitlines(keepends=True)
    (run / "history.jsonl").write_text("")
    viewed = Viewed([run])
    cursor = viewed.json(viewed.only_run())["cursor"]
    for line, steps in ((first, [0]), (second, [0, 5])):
        with (run / "history.jsonl").open("a") as file:
            file.write(line)
        told = viewed.json(f"{viewed.only_run()}?after={cursor}")
        assert [row["step"] for row in told["captures"]] == steps
        cursor = told["cursor"]
    (run / "history.jsonl").write_text(first)
    (run / "summary.json").write_text(json.dumps({**summary, **going_on, "pids": [0]}))
    assert viewed.captures().keys() == {0, 5}, "of a run that has died, all there is"


def test_a_run_without_maps_gives_pictures_and_curves(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {3: LAYERS})
    (run / "step_3" / "maps.safetensors").unlink()
    (run / "step_3" / "encoder_layer_comparison.svg").write_text("<svg/>")
    viewed = Viewed([run])
    [row] = viewed.json(viewed.only_run())["captures"]
    assert (row["maps"], row["pictures"]) == (False, ["encoder_layer_comparison.svg"])
    capture = viewed.json(viewed.captures()[3])
    assert (capture["layers"], capture["tokens"]) == ([], None)
    assert viewed.ask(f"{viewed.captures()[3]}/decoder_layer0_self_attn/0").status == 404
    line = json.loads(viewed.ask(f"{viewed.only_run()}/history").body)
    assert line["metadata"]["step"] == 3


def test_runs_are_compared_as_the_command_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {stem: random_weights(*weights.shape, seed=9) for stem, weights in LAYERS.items()}
    runs = [
        write_run(tmp_path / name, {0: LAYERS, 5: layers}, tokens=TOKENS)
        for name, layers in (("a", LAYERS), ("b", other))
    ]
    assert main(["compare", *map(str, runs), "--json", "--align", "end"]) in (0, 2)
    told = json.loads(capsys.readouterr().out)
    viewed = Viewed([tmp_path])
    keys = {row["title"]: row["id"] for row in viewed.json("/api/v1/runs")}
    asked = f"/api/v1/compare?a={keys['a']}&b={keys['b']}"
    assert viewed.json(f"{asked}&align=end") == told
    assert viewed.json(f"/api/v1/compare?a={keys['a']}&b={keys['a']}")["verdict"] == "identical"
    assert viewed.ask(f"{asked}&align=sideways").status == 400
    assert viewed.ask(f"{asked}&at=nan").status == 400
    assert viewed.ask(f"/api/v1/compare?a={keys['a']}").status == 404
    assert viewed.ask(f"/api/v1/compare?a={keys['a']}&b=../a").status == 404


def test_a_question_that_makes_no_sense_is_refused(viewed: Viewed) -> None:
    run, capture = viewed.only_run(), viewed.captures()[0]
    stem = "decoder_layer0_self_attn"
    for cursor in ("-1", "1e3", "x", "９", "9" * 30):
        assert viewed.ask(f"{run}/history?after={cursor}").status == 400
    for absent in (
        "/api/v1/runs/0", f"{run}/captures/0", f"{capture}/{stem}/7",
                   f"{capture}/other/0", f"{capture}/other/thumbs", "/api/v1", "/no/such",
    ):  # fmt: skip
        assert viewed.ask(absent).status == 404, absent
