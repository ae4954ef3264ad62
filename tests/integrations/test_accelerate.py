"""The guide's recipe for Accelerate, run as written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.guide import code_in
from support.outputs import check_outputs, history
from torch import nn

pytest.importorskip("accelerate")
pytest.importorskip("transformers")

from support.hf_trainer import HEADS, LENGTH, Text
from transformers import GPT2Config, GPT2LMHeadModel


@pytest.fixture(autouse=True)
def _accelerate_starts_anew() -> Iterator[None]:
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def gpt() -> nn.Module:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=256, n_positions=LENGTH, n_embd=32, n_layer=2, n_head=HEADS,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model: nn.Module = GPT2LMHeadModel(config)
    return model


def run(code: str) -> dict[str, Any]:
    model = gpt()
    given = {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), 1e-3),
        "loader": torch.utils.data.DataLoader(Text(48, LENGTH), batch_size=4),
    }
    exec(code, given)
    return given


def test_the_guides_recipe_runs_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = code_in("Accelerate").replace("save_frequency=100", "save_frequency=2")
    watched = run(code)
    monkeypatch.setenv("ATTNMON_DISABLE", "1")
    alone = run(code)
    pairs = zip(watched["model"].parameters(), alone["model"].parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert watched["loss"].item() == alone["loss"].item()
    metadata = [line["metadata"] for line in history(tmp_path / "attn_logs")]
    assert [line["step"] for line in metadata] == [0, 2, 4], "12 batches are 6 steps"
    assert all(isinstance(line["loss"], float) for line in metadata)
    check_outputs(tmp_path / "attn_logs")
