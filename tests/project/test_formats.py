"""The readers in `docs/formats.md` read what a renderer has written."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.attention_layers import random_query_and_key, sent_layer, softmax
from support.project import PROJECT

from attnmon.link.messages import Capture
from attnmon.link.records.ring_blocks import Slots
from attnmon.link.records.run_setup import RenderOptions, Setup
from attnmon.link.records.training_accounts import Accounts
from attnmon_renderer.worker import process_capture

TEXT = (PROJECT / "docs" / "formats.md").read_text()
ARRAYS = random_query_and_key(2, 5, 5)
NAME = "decoder_layer0_self_attn"


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """The maps of step 100 of a run in `attn_logs`."""
    attention, ring = sent_layer(**ARRAYS)
    folder = tmp_path / "attn_logs"
    options = RenderOptions((), maps="all", tensorboard=False, statistics_files=False)
    setup = Setup(str(folder), options, 1 << 20, 1 << 16, 1)
    layers, counted = (attention,), Accounts()
    capture = Capture(0, 100, False, 0, 0.5, None, 1.5, 0, (Slots(0, 1),), layers, counted)
    drawn, _ = process_capture(capture, setup, memoryview(ring))
    assert not drawn.error
    return folder / "step_100" / "maps.safetensors"


def code(language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.M | re.S)
    return str(block)


def test_the_reader_in_python_reads_the_weights(
    maps: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(maps.parents[2])
    found: dict[str, np.ndarray] = {}  # type: ignore[type-arg]
    exec(code("python"), found)
    assert np.abs(found["weights"] - softmax(**ARRAYS)).max() <= 0.004
    assert capsys.readouterr().out.startswith(f"100 {NAME} {{0: ")


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
def test_the_reader_in_javascript_reads_the_same(maps: Path, tmp_path: Path) -> None:
    (tmp_path / "reader.mjs").write_text(code("javascript"))
    (tmp_path / "main.mjs").write_text(
        "import { readFileSync } from 'node:fs';\n"
        "import { weightsOf } from './reader.mjs';\n"
        "const file = new Uint8Array(readFileSync(process.argv[2])).buffer;\n"
        "const found = weightsOf(file, process.argv[3]);\n"
        "console.log(JSON.stringify({ ...found, weights: [...found.weights] }));\n"
    )
    command = ["node", str(tmp_path / "main.mjs"), str(maps), NAME]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert (found["heads"], found["rows"], found["columns"]) == (2, 5, 5)
    assert np.abs(np.reshape(found["weights"], (2, 5, 5)) - softmax(**ARRAYS)).max() <= 0.004
    assert found["about"]["step"] == "100"


def test_every_file_of_a_run_is_named() -> None:
    for name in ("history.jsonl", "alerts.jsonl", "summary.json", "run.json", "statistics.json",
                 "maps.safetensors", "attention_weights.safetensors", "timeline.png"):  # fmt: skip
        assert f"`{name}`" in TEXT or f"/{name}`" in TEXT, name
