"""A sample of the architectures that `scripts/scan_models.py` tries, and its oracles themselves."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from support.forked_script import run_file
from support.project import SCRIPTS
from support.support_matrix import ROWS, NanoGPT
from torch import Tensor, nn

RIGHT = (
    "matrix/nn.Transformer", "matrix/by hand", "matrix/einsum", "matrix/timm Swin, not fused",
    "timm/vision_transformer", "timm/cait", "timm/deit", "transformers/albert",
    "transformers/bart", "transformers/bert", "transformers/big_bird", "transformers/blip",
    "transformers/bloom", "transformers/clip", "transformers/deberta-v2",
    "transformers/qwen3", "transformers/dinov2", "transformers/distilbert",
    "transformers/falcon", "transformers/gemma3", "transformers/gpt_neo", "transformers/gpt_oss",
    "transformers/llama4_text", "transformers/mixtral", "transformers/segformer",
    "transformers/t5", "transformers/vit", "transformers/wav2vec2", "transformers/whisper",
    "transformers/mpnet",
)  # fmt: skip
"""Thirty: written out and fused, encoders and decoders, words, images and sounds."""


@pytest.mark.timeout(600)  # it waits for thirty forked processes, on whatever the machine has left
def test_a_sample_of_thirty_architectures_is_right(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    if find_spec("timm") is None:
        pytest.skip("timm is not installed")
    names = "|".join(name.replace(".", r"\.") for name in RIGHT)
    found = scan(tmp_path, f"^({names})$")
    assert found.keys() == set(RIGHT)
    for name, result in found.items():
        assert result["built"], (name, result)
        assert "hung" not in result, (name, result)
        assert result["changed"] == [], (name, result)
        assert result["forward"]["wrong"] == result["probe"]["wrong"] == [], (name, result)
        assert result["forward"]["word"] == result["probe"]["word"] == "right", (name, result)
        assert result["forward"]["right"] >= result["attending"] > 0, (name, result)


def scan(folder: Path, names: str) -> dict[str, Any]:
    """Results by name."""
    file = folder / "scan.json"
    ran = run_file(SCRIPTS / "scan_models.py", "--only", names, "--json", str(file), timeout=580)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    return {entry.pop("name"): entry for entry in entries}


# The oracles can find what is wrong


@pytest.fixture
def scanlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))


def judged(change: Callable[[list[Any]], list[Any]], refused: dict[str, str] | None = None) -> Any:
    """The verdict on a capture of a small model's true maps, after this change."""
    from scanlib.architecture import SAMPLES, prepared
    from scanlib.captures import Capture, Map
    from scanlib.judging import verdict
    from scanlib.truth import truth

    torch.manual_seed(0)
    built = prepared(NanoGPT("sdpa"), torch.randint(0, 50, (SAMPLES, 9)))
    oracles = truth(built)
    maps = [
        Map(f"blocks.{number}", "decoder_self", number, softmax.weights[0], "")
        for number, softmax in enumerate(oracles.attending)
    ]
    return verdict(Capture(change(maps), refused or {}), oracles)


def replaced(maps: list[Any], **changes: Any) -> list[Any]:
    from dataclasses import replace

    return [replace(maps[0], **changes), *maps[1:]]


def test_true_maps_are_right(scanlib: None) -> None:
    found = judged(lambda maps: maps)
    assert (found.word, found.right, found.layers) == ("right", 2, 2)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda maps: replaced(maps, weights=maps[0].weights.roll(1, 0)), "in another order"),
        (lambda maps: replaced(maps, weights=maps[0].weights[:2]), "no note says which"),
        (lambda maps: replaced(maps, weights=maps[1].weights), "others than the sample's"),
        (lambda maps: replaced(maps, weights=maps[0].weights * 2), "no weights"),
        (lambda maps: replaced(maps, weights=maps[0].weights[:, :3, :3]), "it is [4, 3, 3]"),
        (lambda maps: replaced(maps, layer=2), "have the numbers [2, 1]"),
    ],
    ids=["heads", "part", "other", "sums", "shape", "numbers"],
)
def test_what_is_wrong_is_found(scanlib: None, change: Any, why: str) -> None:
    found = judged(change)
    assert found.word == "wrong"
    assert why in found.wrong[0]


class Halved(nn.Module):
    """Attends with half of its weights; as the second factor, if they are turned over."""

    def __init__(self, turned: bool) -> None:
        super().__init__()
        self.turned = turned

    def forward(self, x: Tensor) -> Tensor:
        weights = (x @ x.mT).softmax(-1) * 0.5
        return (x.mT @ weights.mT).mT if self.turned else weights @ x


@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize(
    ("factor", "note", "word"),
    [(0.5, "", "right"), (1.0, "", "wrong"), (1.0, "before it was halved", "right")],
)
def test_weights_times_values_are_to_be_the_output(
    scanlib: None, turned: bool, factor: float, note: str, word: str
) -> None:
    from scanlib.architecture import Built, one_sample
    from scanlib.captures import Capture, Map
    from scanlib.judging import verdict
    from scanlib.truth import truth

    x = torch.randn(3, 5, 8)
    oracles = truth(Built(Halved(turned), x, lambda sample: one_sample(x, sample)))
    weights = (x[1] @ x[1].mT).softmax(-1)[None] * factor
    found = verdict(Capture([Map("", "encoder_self", 0, weights, note)]), oracles)
    assert (found.word, [reason[-36:] for reason in found.wrong]) == (
        word, ["values are not what the layer computes"[-36:]] * (word == "wrong")
    )  # fmt: skip


def test_a_part_with_a_note_is_right_and_counted_as_noted(scanlib: None) -> None:
    note = "only the first of 2"
    found = judged(lambda maps: replaced(maps, weights=maps[0].weights[:2], note=note))
    assert (found.word, found.noted) == ("right", 1)


def test_what_was_not_seen_is_refused_only_with_a_reason(scanlib: None) -> None:
    assert judged(lambda maps: maps[:1]).word == "not seen"
    found = judged(lambda maps: maps[:1], {"blocks.1": "it cannot be told"})
    assert (found.word, found.why) == ("refused", "blocks.1: it cannot be told")


def test_of_what_was_too_large_that_is_said_and_not_what_our_settings_broke_first(
    scanlib: None,
) -> None:
    from scanlib.architecture import TOO_LARGE, reason_of

    large = f"90 million parameters are left: {TOO_LARGE}"
    assert reason_of(["ValueError: no depth", large]) == large
    assert reason_of(["ValueError: no depth", "KeyError: 0"]) == "ValueError: no depth"


def test_every_row_of_the_matrix_has_token_attention_by_the_oracle(scanlib: None) -> None:
    from scanlib.libraries.own_matrix import architectures
    from scanlib.truth import truth

    names = {"matrix/nn.MultiheadAttention", "matrix/by hand", "matrix/sdpa"}
    chosen = [each for each in architectures() if each.name in names]
    found = [truth(each.build()) for each in chosen]
    assert [len(each.attending) for each in found] == [1, 2, 2]
    assert all(each.independent and each.distinct for each in found)
    assert len(ROWS) >= len(chosen)


HANGING = """
import os, sys, time
from functools import partial
from torch import nn, zeros
from scanlib import workers
from scanlib.architecture import Architecture, Built

class Misbehaving(nn.Module):
    calls = 0

    def __init__(self, from_call, deed):
        super().__init__()
        self.from_call, self.deed = from_call, deed

    def forward(self, x):
        self.calls += 1
        if self.calls >= self.from_call:
            self.deed()
        return x

def build(*how):
    return Built(Misbehaving(*how), zeros(3, 2), lambda sample: zeros(1, 2))

def sleep():
    time.sleep(60)

workers.SECONDS = 2.0
ways = {"hangs": (6, sleep), "crashes": (6, os.abort), "hangs at once": (1, sleep)}
wanted = [Architecture(name, partial(build, *how)) for name, how in ways.items()]
with workers.shared_renderer() as renderer:
    for name, result, _ in workers.results(iter(wanted), renderer, 1):
        print(f"{name}: {result.get('hung') or result['why']}")
"""


def test_a_hang_and_a_crash_are_results(tmp_path: Path) -> None:
    """One that is not built has hung without a monitor, and is not counted."""
    script = tmp_path / "hanging.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(SCRIPTS)!r})\n{HANGING}")
    ran = run_file(script, timeout=110)
    hung, crashed, unbuilt = ran.stdout.splitlines()
    assert hung.startswith("hangs: no end within 2 s, at sleep"), ran.stderr
    assert hung.endswith("in the forward")
    assert crashed == "crashes: its process died in the forward"
    assert unbuilt.startswith("hangs at once: no end within 2 s, at sleep")
    assert unbuilt.endswith("in the build (it is too large to be tried)")
