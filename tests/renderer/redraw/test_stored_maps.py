"""`attnmon render` of a run that has kept its maps alone."""

from pathlib import Path

import numpy as np
import pytest
from support.maps import random_weights, write_run

from attnmon_renderer.analysis.arrays import read_array
from attnmon_renderer.commands import main
from attnmon_renderer.redraw.stored_maps import files_stored, read_stored
from attnmon_renderer.storage import paths

SELF, CROSS, LONG = (
    "decoder_layer0_self_attn", "decoder_layer0_cross_attn", "decoder_layer1_self_attn",
)  # fmt: skip
WHOLE = {SELF: random_weights(2, 7, 7, 1, causal=True), CROSS: random_weights(2, 7, 5, 2)}
POOLED = {LONG: random_weights(2, 300, 300, 3)}


def test_pictures_are_made_of_maps_and_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", {5: {**WHOLE, **POOLED}}, tokens={"decoder": list("abcdefg")})
    [(path, step)] = files_stored(run).items()
    assert step == 5
    stored = read_stored(path)
    attentions = {paths.stem(each): each for each in stored.capture.attentions}
    assert attentions.keys() == WHOLE.keys()
    for stem, weights in WHOLE.items():
        attention = attentions[stem]
        assert attention.weights is not None
        found = read_array(attention.weights, stored.memory)
        furthest = np.abs(found - weights).max(axis=(1, 2)) / weights.max(axis=(1, 2))
        assert (furthest <= 0.004).all(), stem
    wanted = ["render", str(run), "--jobs", "1", "--format", "svg", "--kinds", "heatmap"]
    assert main([*wanted, "layer_comparison", "head_matrix"]) == 0
    drawn = {path.stem: path.read_text() for path in (run / "rendered/step_5").iterdir()}
    assert {SELF, CROSS} < drawn.keys()
    assert LONG not in drawn
    assert all("stored map: within" in svg for svg in drawn.values()), drawn.keys()
    assert f"{LONG} is stored pooled, 3 × 3 positions a cell" in capsys.readouterr().out


def test_a_run_with_pooled_maps_alone_is_told_what_shows_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", {0: POOLED})
    assert main(["render", str(run), "--jobs", "1"]) == 1
    said = capsys.readouterr().out
    assert "is stored pooled, 3 × 3 positions a cell; `attnmon view`" in said
