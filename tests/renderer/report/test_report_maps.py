"""The maps in a report: every step's, as they are stored or pooled by mass, within a bound."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from support.maps import encoded, random_weights, write_maps, write_run

from attnmon_renderer.commands import main
from attnmon_renderer.inlined_answers import InlinedAnswers
from attnmon_renderer.maps.map_blocks import map_block
from attnmon_renderer.maps.maps_file import open_maps
from attnmon_renderer.report.gather import gather_report_data
from attnmon_renderer.report.map_steps import SIDES

SELF, CROSS = "decoder_layer0_self_attn", "decoder_layer0_cross_attn"
TOKENS = {"encoder": [*"abcdef"], "decoder": ["</script>", *"xyzuvw"]}


def layers(step: int) -> dict[str, Any]:
    return {
        SELF: random_weights(2, 7, 7, step, causal=True),
        CROSS: random_weights(2, 7, 6, step + 100),
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    captures = {step: layers(step) for step in range(0, 300, 100)}
    return write_run(tmp_path / "run", captures, tokens=TOKENS)


def report(run: Path, *arguments: str) -> tuple[dict[str, Any], str, str]:
    """Returns what the page is told, the codes, and the whole document."""
    assert main(["report", str(run), *arguments]) == 0
    text = (run / "report.html").read_text()

    def inside(name: str) -> str:
        return text.partition(f'id="{name}">')[2].partition("</script>")[0]

    return json.loads(inside("answers")), inside("codes"), text


def codes_of(layer: dict[str, Any], codes: str) -> np.ndarray[Any, Any]:
    packed = base64.b64decode(codes[layer["at"] : layer["at"] + layer["length"]])
    found = np.frombuffer(zlib.decompress(packed), np.uint8)
    shape = len(layer["heads"]), layer["rows"], layer["columns"]
    return np.cumsum(found.reshape(shape), axis=1, dtype=np.uint8)


def test_every_map_of_every_step_is_in_it(run: Path) -> None:
    told, codes, text = report(run)
    lines = json.loads(told["answers"]["runs/run"])["captures"]
    assert [line["step"] for line in lines] == [0, 100, 200]
    for line in lines:
        capture = told["captures"][f"runs/run/captures/{line['c']}"]
        assert {layer["stem"] for layer in capture["layers"]} == {SELF, CROSS}
        assert told["texts"][capture["text"]] == TOKENS
        for layer in capture["layers"]:
            weights = layers(line["step"])[layer["stem"]]
            expected, scale = encoded(weights.astype(np.float64))
            assert codes_of(layer, codes).tolist() == expected.tolist()
            assert layer["scale"] == pytest.approx(scale.tolist(), rel=1e-5)
            assert (layer["heads"], layer["causal"]) == ([0, 1], layer["stem"] == SELF)
    assert text.count("</script>") == text.count("<script"), "a token ends no element"
    assert "All 3 steps that have maps." in text


def test_the_history_of_the_steps_shown_is_in_it(run: Path) -> None:
    told, _, _ = report(run)
    rows = [json.loads(line) for line in told["answers"]["runs/run/history"].splitlines()]
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert [row["metadata"] for row in rows] == [line["metadata"] for line in lines]
    for row, line in zip(rows, lines, strict=True):
        found, expected = (each["decoder"][0]["heads"]["entropy"] for each in (row, line))
        assert found == pytest.approx(expected, rel=1e-3)


def test_what_maps_show_is_not_shown_again_as_pictures(run: Path) -> None:
    folder = run / "step_100"
    for name in (SELF, f"{SELF}_heads", f"{SELF}_alignment", "decoder_layer9_self_attn"):
        (folder / f"{name}.png").write_bytes(b"a picture")
    data = gather_report_data(run, run, 50, 10**7)
    assert [set(step.pictures) for step in data.steps] == [
        {f"{SELF}_alignment", "decoder_layer9_self_attn"}
    ]
    elsewhere = gather_report_data(run, folder, 50, 10**7)
    assert len(elsewhere.maps.steps) == 3


def test_where_there_is_little_room_all_steps_are_pooled_alike(tmp_path: Path) -> None:
    captures = {step: {SELF: random_weights(4, 120, 120, step)} for step in range(10)}
    run = write_run(tmp_path / "run", captures)
    data = gather_report_data(run, run, 50, 120_000)
    assert len(data.maps.steps) == 10
    assert data.maps.side in SIDES
    assert sum(step.size for step in data.maps.steps) <= 120_000
    finer = SIDES[SIDES.index(data.maps.side) - 1]
    with open_maps(run / "step_0" / "maps.safetensors") as maps:
        block = map_block(maps, maps.metadata.layers[SELF], finer)
    assert 10 * len(block.content) * 4 / 3 > 120_000, "the next finer one would not fit"


@pytest.mark.parametrize(("queries", "keys", "side"), [(300, 90, 16), (256, 256, 64), (130, 7, 24)])
def test_pooled_again_a_cell_is_the_mean_over_queries_of_the_sum_over_keys(
    tmp_path: Path, queries: int, keys: int, side: int
) -> None:
    weights = random_weights(2, queries, keys)
    path = tmp_path / "maps.safetensors"
    write_maps(path, 1, {SELF: weights})
    with open_maps(path) as maps:
        block = map_block(maps, maps.metadata.layers[SELF], side)
    about = block.about
    rows, columns = (
        np.arange(0, queries, about["query_step"]),
        np.arange(0, keys, about["key_step"]),
    )
    sums = np.add.reduceat(np.add.reduceat(weights.astype(np.float64), rows, 1), columns, 2)
    counts = np.add.reduceat(np.ones(queries), rows)
    cells = sums / counts[:, None]
    found = np.frombuffer(zlib.decompress(block.content), np.uint8).reshape(cells.shape)
    found = np.cumsum(found, axis=1, dtype=np.uint8)
    decoded = np.array(about["scale"])[:, None, None] * np.square(found / 255)
    assert max(cells.shape[1:]) <= side
    assert np.abs(decoded - cells).max() <= 0.01 * cells.max()


def test_heads_of_which_nothing_was_recorded_are_named(tmp_path: Path) -> None:
    path = tmp_path / "maps.safetensors"
    write_maps(path, 1, {SELF: random_weights(3, 5, 5)}, **{f"{SELF}.missing": "1"})
    with open_maps(path) as maps:
        layer = maps.metadata.layers[SELF]
        block, chosen = map_block(maps, layer, 16), map_block(maps, layer, 16, [2, 0])
    assert (block.about["heads"], block.about["missing"]) == ([0, 1, 2], (1,))
    assert chosen.about["heads"] == [2, 0]
    assert chosen.about["scale"] == [block.about["scale"][place] for place in (2, 0)]
    assert len(zlib.decompress(chosen.content)) == 2 * 25


def test_a_mask_that_all_layers_have_is_in_it_once(tmp_path: Path) -> None:
    weights = random_weights(2, 6, 6)
    allowed = np.ones((1, 6, 6), np.uint8)
    allowed[:, :, 4:] = 0
    answers = InlinedAnswers()
    for number in range(2):
        path = tmp_path / f"{number}.safetensors"
        write_maps(path, 1, {SELF: weights, CROSS: weights})
        with safetensors.safe_open(str(path), "np") as file:
            about = file.metadata()
        masks = {f"{stem}.allowed": allowed for stem in (SELF, CROSS)}
        safetensors.numpy.save_file(safetensors.numpy.load_file(path) | masks, path, about)
        with open_maps(path) as maps:
            blocks = [map_block(maps, layer, 3) for layer in maps.metadata.layers.values()]
        answers.add_capture("run", {"step": number}, {}, blocks)
    told = json.loads(answers.elements().partition(">")[2].partition("<")[0])
    [mask] = told["masks"]
    assert base64.b64decode(mask) == bytes([1, 1, 0] * 3)
    assert [layer["mask"] for layer in told["captures"]["runs/run/captures/1"]["layers"]] == [0, 0]
    assert [layer["thumbs_at"] for layer in told["captures"]["runs/run/captures/1"]["layers"]] == [
        0,
        2 * 9,
    ]


def test_a_scale_beyond_all_numbers_leaves_the_page_whole(tmp_path: Path) -> None:
    path = tmp_path / "maps.safetensors"
    write_maps(path, 1, {SELF: np.full((1, 40, 40), 0.025)})
    with safetensors.safe_open(str(path), "np") as file:
        about = file.metadata()
    tensors = safetensors.numpy.load_file(path)
    tensors[f"{SELF}.scale"][:] = 3e38
    safetensors.numpy.save_file(tensors, path, about)
    with open_maps(path) as maps:
        block = map_block(maps, maps.metadata.layers[SELF], 16)
    assert block.about["scale"] == [1e30]
    json.dumps(block.about, allow_nan=False)


def test_damaged_maps_are_told_and_the_others_shown(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "step_100" / "maps.safetensors").write_bytes(b"\xff" * 100)
    (run / "step_200" / "maps.safetensors").unlink()
    (run / "step_200" / "maps.safetensors").symlink_to("/etc/passwd")
    told, _, _ = report(run)
    assert len(told["captures"]) == 1
    assert "step_100/maps.safetensors: a header of" in capsys.readouterr().err


def test_a_run_without_maps_has_no_such_section(run: Path) -> None:
    for path in run.glob("step_*/maps.safetensors"):
        path.unlink()
    assert main(["report", str(run)]) == 0
    assert 'id="maps"' not in (run / "report.html").read_text()
