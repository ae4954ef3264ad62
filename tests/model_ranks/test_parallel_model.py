"""A model that PyTorch has split by a DeviceMesh is shown as the whole would be, unasked."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.distributed as dist
from support import parallel_model
from support.processes import run_on_all

from attnmon_renderer.maps.maps_file import open_maps
from attnmon_renderer.model_ranks.merged_copy import merged_copy
from attnmon_renderer.storage.paths import MAPS

pytestmark = pytest.mark.skipif(not dist.is_gloo_available(), reason="gloo is not here")


def rows(folder: Path) -> dict[int, list[dict[str, Any]]]:
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return {line["metadata"]["step"]: line["encoder"] + line["decoder"] for line in lines}


def test_grouped_heads_of_an_encoder_and_a_decoder(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    parts.mkdir()
    parallel_model.train(parallel_model.whole_model(), str(whole))
    run_on_all(parallel_model.__file__, parallel_model.TENSOR_RANKS, parts)
    with merged_copy(parts, follow=False) as merged:
        ours, expected = rows(merged), rows(whole)
        assert list(ours) == list(expected) == list(range(parallel_model.STEPS))
        for step, listed in ours.items():
            places = [(row["type"], row["layer"], row["shape"]) for row in listed]
            assert places == [
                *[("self_attention", layer, [4, 7, 7]) for layer in (0, 1)],
                ("self_attention", 0, [4, 5, 5]), ("cross_attention", 0, [4, 5, 7]),
                ("self_attention", 1, [4, 5, 5]), ("cross_attention", 1, [4, 5, 7]),
            ]  # fmt: skip
            for row, full in zip(listed, expected[step], strict=True):
                for name in ("mean", "std", "min", "max"):
                    assert row[name] == pytest.approx(full[name], abs=1e-6)
                for name, values in full["heads"].items():
                    assert row["heads"][name] == pytest.approx(values, abs=1e-5, rel=1e-5), name
            compare_maps(merged / f"step_{step}", whole / f"step_{step}")


def compare_maps(merged: Path, whole: Path) -> None:
    with open_maps(merged / MAPS) as ours, open_maps(whole / MAPS) as theirs:
        assert ours.metadata.layers.keys() == theirs.metadata.layers.keys()
        for stem, layer in theirs.metadata.layers.items():
            assert ours.metadata.layers[stem].heads == layer.heads == (0, 1, 2, 3)
            difference = np.abs(ours.all_codes(stem).astype(int) - theirs.all_codes(stem))
            assert difference.max() <= 1  # where rounding errors meet the edge of a code
            np.testing.assert_allclose(ours.scale(stem), theirs.scale(stem), rtol=1e-5)
