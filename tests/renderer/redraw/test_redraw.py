"""`attnmon render`: what is drawn again is what was drawn live, or what was asked for instead."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence
from safetensors.numpy import load_file, save_file
from support.outputs import strict_json
from support.stored_run import KEYS, KINDS, train_with_raw_weights
from support.streams import TerminalStream

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock, Slots
from attnmon.link.records.training_accounts import Accounts
from attnmon.options import PICTURES
from attnmon_renderer.analysis.layer_analysis import analyze_layer
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.commands import main
from attnmon_renderer.commands import render as command
from attnmon_renderer.redraw.capture_selection import select
from attnmon_renderer.redraw.stored_capture import NotStored, read_capture
from attnmon_renderer.sinks.raw_weights import NAME, write_raw
from attnmon_renderer.terminal import ProgressLine

FOLDERS = ("step_0", "step_2", "epoch_7_step_4")
Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three captures; to be read only."""
    folder = tmp_path_factory.mktemp("run")
    train_with_raw_weights(folder)
    assert strict_json((folder / "summary.json").read_text())["rendered"] == 3
    return folder


def render(run: Path, out: Path, *arguments: str) -> int:
    return main(["render", str(run), "--out", str(out), "--jobs", "1", *arguments])


def pictures_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.*") if path.is_file()}


def test_every_picture_drawn_again_is_byte_for_byte_the_one_drawn_live(
    run: Path, tmp_path: Path
) -> None:
    """Masks, tokens, entropies and captions included; by several processes, as a user runs it."""
    command = [sys.executable, "-c", "import sys; from attnmon_renderer.commands import main; "
               "sys.exit(main())"]  # fmt: skip
    wanted = ["render", str(run), "--out", str(tmp_path), "--jobs", "2", "--kinds", *KINDS]
    ran = subprocess.run(command + wanted, capture_output=True, text=True, timeout=100)
    assert (ran.returncode, ran.stderr) == (0, "")
    live = {name for name in pictures_in(run) if name.endswith(".png")}
    assert pictures_in(tmp_path) == live
    assert {name.partition("/")[0] for name in live} == {*FOLDERS, "animations", "timeline.png"}
    assert [
        name for name in live if (run / name).read_bytes() != (tmp_path / name).read_bytes()
    ] == []
    assert f"{len(live)} pictures in {tmp_path}" in ran.stdout


def test_without_a_place_to_write_the_live_pictures_are_kept(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    (copy / "step_0").mkdir(parents=True)
    (copy / "step_0" / NAME).write_bytes((run / "step_0" / NAME).read_bytes())
    assert main(["render", str(copy), "--jobs", "1", "--layers", "0"]) == 0
    expected = {f"{stem}_attn.png" for stem in
                ("encoder_layer0_self", "decoder_layer0_self", "decoder_layer0_cross")}  # fmt: skip
    assert pictures_in(copy) == {
        f"step_0/{NAME}",
        *(f"rendered/step_0/{name}" for name in expected),
    }


def test_what_is_asked_for_is_drawn(run: Path, tmp_path: Path) -> None:
    """Layers counted from the end or named by a pattern, some steps, another format."""
    wanted = ["--kinds", "heatmap", "multi_head", "--layers", "-1", "--steps", "0", "4"]
    assert render(run, tmp_path / "a", *wanted, "--format", "svg") == 0
    stems = ("encoder_layer1_self", "decoder_layer1_self", "decoder_layer1_cross")
    assert pictures_in(tmp_path / "a") == {
        f"{folder}/{stem}_attn{suffix}.svg"
        for folder in ("step_0", "epoch_7_step_4")
        for stem in stems
        for suffix in ("", "_heads")
    }
    assert render(run, tmp_path / "b", "--layers", "*decoder*multihead*", "--steps", "2") == 0
    assert pictures_in(tmp_path / "b") == {
        f"step_2/decoder_layer{layer}_cross_attn.png" for layer in (0, 1)
    }


@pytest.mark.parametrize("chosen", [(2,), (3, 1)])
def test_a_map_of_some_heads_is_their_mean(run: Path, chosen: tuple[int, ...]) -> None:
    """Against the weights as the safetensors library reads them."""
    path = run / "step_2" / NAME
    weights = load_file(path)["decoder_layer1_cross_attn"]
    capture, layers = select(read_capture(path), ["*layers.1.multihead*"], chosen)
    [(attention, layer)] = layers.items()
    assert attention.heads == chosen
    assert capture.attentions == (attention,)
    pooled = analyze_layer(layer, average_side=1024).average
    assert pooled is not None
    np.testing.assert_allclose(pooled.values, weights[list(chosen)].mean(axis=0), atol=1e-6)


def test_a_fixed_scale_gives_a_weight_one_colour_in_every_step(run: Path, tmp_path: Path) -> None:
    """And the scale of each picture by itself does not: the colours at the bar's ends differ."""
    fixed, own = tmp_path / "fixed", tmp_path / "own"
    assert render(run, fixed, "--top", "0.5", "--layers", "0") == 0
    assert render(run, own, "--layers", "0") == 0
    name = "encoder_layer0_self_attn.png"
    weights = {folder: load_file(run / folder / NAME)["encoder_layer0_self_attn"].mean(axis=0)
               for folder in FOLDERS}  # fmt: skip
    colour_of = {}
    for folder, values in weights.items():
        level = np.floor(80 * np.sqrt(np.minimum(values, 0.5) / 0.5)).astype(int)
        for cell, colour in zip(
            level.flat, cells(fixed / folder / name).reshape(-1, 3), strict=True
        ):
            assert colour_of.setdefault(int(cell), tuple(colour)) == tuple(colour)
    assert len(colour_of) > 5
    assert (cells(fixed / "step_0" / name) != cells(own / "step_0" / name)).any()


def cells(path: Path) -> np.ndarray:
    """[keys, keys, 3] The colour in the middle of each cell; the map is the coloured square."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    coloured = np.ptp(pixels, axis=2) > 20
    left = np.flatnonzero(coloured.mean(axis=0) > 0.3)
    edges = np.flatnonzero(np.diff(left) > 1)
    columns = left[: edges[0] + 1] if len(edges) else left
    rows = np.flatnonzero(coloured[:, columns].mean(axis=1) > 0.9)
    middles = (np.arange(KEYS) + 0.5) / KEYS
    ys, xs = rows[0] + middles * len(rows), columns[0] + middles * len(columns)
    return np.asarray(pixels[ys.astype(int)][:, xs.astype(int)])


def test_weights_above_the_scale_are_said_to_be(run: Path, tmp_path: Path) -> None:
    """In SVG, where each text stands in a comment, too."""
    for top, said in (("1", False), ("0.001", True)):
        out = tmp_path / top
        chosen = ["--layers", "0", "--steps", "0", "--format", "svg", "--top", top]
        assert render(run, out, *chosen) == 0
        drawn = [path.read_text() for path in out.rglob("*.svg")]
        assert len(drawn) == 3
        assert all(("beyond the colour scale" in text) == said for text in drawn)


def test_a_difference_is_drawn_of_each_layer(run: Path, tmp_path: Path) -> None:
    assert render(run, tmp_path, "--kinds", "difference", "--steps", "0", "4") == 0
    names = pictures_in(tmp_path)
    assert len(names) == 6
    assert "step_0_to_epoch_7_step_4/decoder_layer1_cross_attn_difference.png" in names


def test_an_animation_has_a_frame_for_each_step_asked_for(run: Path, tmp_path: Path) -> None:
    assert render(run, tmp_path, "--kinds", "animation", "--steps", "0", "4", "--layers", "0") == 0
    with Image.open(tmp_path / "animations" / "encoder_layer0_self_attn.png") as film:
        assert len(list(ImageSequence.Iterator(film))) == 2


@pytest.mark.parametrize("shape", [(5,), (4, 5), (1, 4, 5), (3, 4, 5), (1, 1, 1)])
@pytest.mark.parametrize("heads", [None, (7, 5)])
def test_what_was_masked_is_masked_when_drawn_again(
    tmp_path: Path, shape: tuple[int, ...], heads: tuple[int, ...] | None
) -> None:
    """Whatever shape the mask has, for all heads and for a choice of them."""
    random = np.random.default_rng(0)
    weights = random.random((3, 4, 5), np.float32)
    allowed = random.random(shape) < 0.6
    attention = Attention(
        "m", "encoder", 0, "self_attention", "test", (5, 6, 7),
        weights=ArrayBlock(0, "float32", (3, 4, 5)), bias=ArrayBlock(weights.nbytes, "bool", shape),
    )  # fmt: skip
    live = LayerAttention(attention, weights.tobytes() + allowed.tobytes())
    capture = Capture(
        0, 0, False, None, None, None, 0.0, 0, (Slots(0, 1),), (attention,), Accounts()
    )
    write_raw(tmp_path, capture, {attention: live})
    _, layers = select(read_capture(tmp_path / NAME), None, heads)
    [again] = layers.values()
    kept = [0, 1, 2] if heads is None else [2, 0]
    everywhere = np.broadcast_to(allowed, (3, 4, 5))[kept]
    pooled = analyze_layer(again, average_side=8).average
    assert pooled is not None
    np.testing.assert_array_equal(pooled.masked, ~everywhere.any(axis=0))
    np.testing.assert_allclose(pooled.values, weights[kept].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--steps", "3"], "neither raw weights nor maps of step 3; there are those of 0, 2, 4"),
        (["--layers", "7"], "no layer is one of 7; stored are encoder_layer0_self_attn"),
        (["--heads", "9"], "has no head 9; stored are 0, 1, 2, 3"),
        (["--kinds", "difference", "--steps", "0"], "a difference takes two steps, not 1"),
    ],
)
def test_what_is_not_stored_is_said_with_what_is(
    run: Path, tmp_path: Path, capsys: Output, arguments: list[str], said: str
) -> None:
    assert render(run, tmp_path, *arguments) == 2
    assert said in capsys.readouterr().err
    assert not pictures_in(tmp_path)


def test_a_run_without_raw_weights_is_told_how_to_have_them(
    run: Path, tmp_path: Path, capsys: Output
) -> None:
    (tmp_path / "history.jsonl").write_bytes((run / "history.jsonl").read_bytes())
    assert render(tmp_path, tmp_path / "out") == 2
    assert "save_raw_weights=True" in capsys.readouterr().err
    assert render(tmp_path, tmp_path / "out", "--kinds", "timeline") == 0
    assert (tmp_path / "out" / "timeline.png").read_bytes() == (run / "timeline.png").read_bytes()
    assert render(tmp_path / "nowhere", tmp_path) == 2
    assert "there is no directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--kinds", "heatmaps"], "unknown kind 'heatmaps'; known are heatmap, multi_head"),
        (["--kinds", "heatmaps"], "Did you mean 'heatmap'?"),
        (["--top", "0"], "give a weight above 0"),
        (["--jobs", "0"], "give 1 or more"),
    ],
)
def test_a_mistake_is_named_with_what_is_allowed(
    run: Path, tmp_path: Path, capsys: Output, arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        render(run, tmp_path, *arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_every_kind_that_a_monitor_draws_can_be_drawn_again() -> None:
    assert set(command.KINDS) == {*PICTURES, "difference"}


def test_a_kind_that_these_layers_do_not_have_is_an_error(
    run: Path, tmp_path: Path, capsys: Output
) -> None:
    assert render(run, tmp_path, "--kinds", "rollout", "--layers", "1") == 1
    assert "no picture of 'rollout'" in capsys.readouterr().out


def torn(content: bytes) -> bytes:
    return content[:-100]


def garbage(content: bytes) -> bytes:
    return b"\xff" * 50


def empty(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("harm", [torn, garbage, empty])
def test_a_damaged_file_is_named_and_the_others_are_drawn(
    run: Path, tmp_path: Path, capsys: Output, harm: object
) -> None:
    assert callable(harm)
    for folder in ("step_0", "step_2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / NAME).write_bytes((run / folder / NAME).read_bytes())
    broken = tmp_path / "step_0" / NAME
    broken.write_bytes(harm(broken.read_bytes()))
    assert render(tmp_path, tmp_path / "out") == 1
    assert f"{broken} cannot be read" in capsys.readouterr().out
    assert len(pictures_in(tmp_path / "out")) == 6


def test_the_weights_of_another_program_are_refused(tmp_path: Path) -> None:
    path = tmp_path / NAME
    save_file({"x": np.zeros((2, 3), np.float32)}, path)
    with pytest.raises(NotStored, match="cannot be read"):
        read_capture(path)


@pytest.mark.parametrize("stream", [TerminalStream(), io.StringIO()])
def test_progress_is_shown_on_a_terminal_and_taken_away_and_nowhere_else(
    stream: io.StringIO,
) -> None:
    progress = ProgressLine(3, stream)
    for _ in range(3):
        progress.advance()
    progress.end()
    lines = stream.getvalue().split("\r\x1b[K")
    if stream.isatty():
        assert [line.split(",")[0].split(" ", 1)[-1] for line in lines] == [
            "", "1 of 3", "2 of 3", "3 of 3", "",
        ]  # fmt: skip
    else:
        assert lines == [""]
