"""The support matrix, through the whole monitor: every row of docs/models.md.

Two monitors serve all models, each watching in one of the two places; what their renderers wrote
is compared with the models' own eager attention.
"""

import importlib
import json
import random
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from support.support_matrix import (
    HEADS,
    ROWS,
    NanoGPT,
    Row,
    call_model,
    first_tensor,
    weights_into_dropout,
)
from torch import Tensor, nn

from attnmon import TrainingAttentionMonitor
from attnmon.capture import compilations

TOLERANCE = 1e-6
SAMPLE = 1
STEPS = 3
"""Of a compiled model."""
PATIENCE = 60.0
"""Seconds to wait for a picture-less capture, at idle priority on a busy machine."""


@dataclass
class Watch:
    """A monitor, and the steps it was given so far."""

    monitor: TrainingAttentionMonitor
    folder: Path
    place: str
    step: int = field(default=-1)

    def log(self, model: nn.Module, inputs: Any) -> int:
        self.step += 1
        self.monitor.log_attention(model, inputs, step=self.step)
        return self.step

    def written(self, step: int) -> dict[tuple[str, int], tuple[Tensor, str]]:
        """Weights [heads, queries, keys] and note, by module and by which of its calls."""
        path = self.folder / f"step_{step}" / "attention_weights.safetensors"
        deadline = time.monotonic() + PATIENCE
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        found: dict[tuple[str, int], tuple[Tensor, str]] = {}
        with safe_open(path, "pt") as file:
            about = file.metadata()
            modules = {key: value for key, value in about.items() if key.endswith(".module")}
            for key, name in sorted(modules.items()):
                stem = key.removesuffix(".module")
                number = sum(other == name for other, _ in found)
                found[name, number] = file.get_tensor(stem), about[f"{stem}.note"]
        return found

    @property
    def captured(self) -> int:
        return self.monitor._counters.captured


def start(place: str, folder: Path) -> Iterator[Watch]:
    """Its processes are there from the first capture on, before any test is begun."""
    with TrainingAttentionMonitor(
        folder,
        1,
        visualization_types=["statistics"],
        layers_to_visualize="all",
        heads_to_visualize="all",
        batch_idx_to_visualize=SAMPLE,
        max_workers=1,
        save_raw_weights=True,
        use_tensorboard=False,
        capture=place,  # type: ignore[arg-type]
        max_overhead=None,
        on_full="wait",
    ) as monitor:
        watch = Watch(monitor, folder, place)
        row = ROWS["sdpa"]
        forward(watch, row.build().eval(), row.inputs())
        watch.written(watch.step)
        monitor.detach()
        yield watch
    accounts = json.loads((folder / "summary.json").read_text())
    assert accounts["captured"] == accounts["rendered"] > 0, accounts


@pytest.fixture(scope="module")
def probing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    yield from start("probe", tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="module")
def looking_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    yield from start("forward", tmp_path_factory.mktemp("forward"))


def forward(watch: Watch, model: nn.Module, inputs: Any) -> int:
    """One step, logged; where the probe makes its own forward, it makes the only one."""
    if watch.place == "forward":
        watch.monitor.attach(model)
        call_model(model, inputs)
    return watch.log(model, inputs)


def check_maps(row: Row, watch: Watch, steps: int) -> None:
    torch.manual_seed(0)
    model, inputs = row.build().eval(), row.inputs()
    expected = row.expected(model, inputs)
    for _ in range(steps):
        written = watch.written(forward(watch, model, inputs))
        assert len(written) == sum(map(len, expected.values()))
        for (name, number), (weights, note) in written.items():
            whole = expected[name][number]
            first = SAMPLE * len(whole) // 2  # of several windows, the first
            assert note.startswith(row.note)
            assert bool(note) == bool(row.note), note
            torch.testing.assert_close(
                weights[:, row.skipped :], whole[first][:, row.skipped :], rtol=0, atol=TOLERANCE
            )
        sources = {seen.source for seen in watch.monitor.coverage()}
        assert sources == {row.source}
    watch.monitor.detach()


@pytest.mark.parametrize("name", ROWS)
def test_maps_of_the_probe_are_the_models_own(name: str, probing: Watch) -> None:
    check_maps(ROWS[name], probing, 1)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if not row.probe_only])
def test_maps_of_the_own_forward_are_the_models_own(name: str, looking_on: Watch) -> None:
    """Of a forward that meets the model for the first time, and of one that knows it."""
    check_maps(ROWS[name], looking_on, 2)


def test_in_bfloat16_the_maps_are_those_of_the_kernels_own_inputs(looking_on: Watch) -> None:
    """The kernel keeps its logits in float32, and so does the map: 1e-6 as ever, of its query and
    key. Eager attention rounds logits and weights, each by up to 2^-9 of itself."""
    torch.manual_seed(0)
    inputs = ROWS["sdpa"].inputs()
    model, eager = (NanoGPT(way).bfloat16().eval() for way in ("sdpa", "by_hand"))
    eager.load_state_dict(model.state_dict())
    projected: list[Tensor] = []
    for block in model.blocks:
        block.c_attn.register_forward_hook(lambda *seen: projected.append(seen[-1][SAMPLE]))  # type: ignore[union-attr]
    written = looking_on.written(forward(looking_on, model, inputs))
    looking_on.monitor.detach()
    rounded = weights_into_dropout(eager, inputs, ".attn_dropout")
    for (name, _), (weights, note) in written.items():
        projection = projected[int(name.removeprefix("blocks."))].double()
        query, key, _ = projection.unflatten(-1, (3, HEADS, -1)).permute(1, 2, 0, 3)
        logits = query @ key.mT / key.shape[-1] ** 0.5
        later = torch.ones(logits.shape[-2:], dtype=torch.bool).triu(1)
        exact = logits.masked_fill(later, -torch.inf).softmax(-1)
        assert not note
        torch.testing.assert_close(weights.double(), exact, rtol=0, atol=TOLERANCE)
        assert TOLERANCE < (weights - rounded[name][0][SAMPLE]).abs().max() < 2**-8


@dataclass(frozen=True)
class Way:
    """How a model is trained at a step."""

    autocast: bool = False
    reentrant: bool | None = None
    """Of activation checkpointing; None is without."""


WAYS = (Way(), Way(autocast=True), Way(reentrant=False), Way(reentrant=True))


def ways_of(name: str) -> list[Way]:
    """Returns how a row's model is trained, a step each: the first way meets it, and knows it then.

    Which one is the first goes round from row to row.
    """
    ways = [way for way in WAYS if ROWS[name].checkpoints or way.reentrant is None]
    first = list(ROWS).index(name) % len(ways)
    ways = ways[first:] + ways[:first]
    return [ways[0], *ways]


def choose(way: Way, model: nn.Module) -> Any:
    """Returns the context to train the model in."""
    if way.reentrant is not None:
        model.gradient_checkpointing_enable({"use_reentrant": way.reentrant})  # type: ignore[operator]
    elif hasattr(model, "gradient_checkpointing_disable"):
        model.gradient_checkpointing_disable()  # type: ignore[operator]
    return torch.autocast("cpu", torch.bfloat16) if way.autocast else nullcontext()


def train(row: Row, ways: list[Way], watch: Watch | None) -> dict[str, Any]:
    """All that a training leaves. Its last step is not logged: it shows what the captures did."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    model, inputs = row.build().train(), row.inputs()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    if watch is not None and watch.place == "forward":
        watch.monitor.attach(model)
    losses = []
    for step, way in enumerate([*ways, ways[0]]):
        with choose(way, model):
            loss = first_tensor(call_model(model, inputs)).float().square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
        if watch is not None and step < len(ways):
            watch.log(model, inputs)
    if watch is not None:
        watch.monitor.detach()
    return {
        "losses": torch.stack(losses),
        **dict(model.named_parameters()),
        **dict(model.named_buffers()),
        "training": [module.training for module in model.modules()],
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),  # type: ignore[union-attr, index]
    }


def check_identity(row: Row, ways: list[Way], *watches: Watch) -> None:
    alone = train(row, ways, None)
    for watch in watches:
        before = watch.captured
        watched = train(row, ways, watch)
        # Where checkpointing begins or ends, the forward may be seen to call other functions than
        # it is known to; it is looked into anew at the next step.
        most_missed = int(watch.place == "forward")
        assert before + len(ways) - most_missed <= watch.captured <= before + len(ways)
        assert watch.monitor._counters.failed == 0
        assert alone.keys() == watched.keys()
        for name, expected in alone.items():
            same = torch.equal(expected, watched[name]) if torch.is_tensor(expected) else None
            differs = expected != watched[name] if same is None else not same
            assert not differs, f"{name} differs in the {watch.place}"


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_")
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("name", ROWS)
def test_training_is_bit_identical(name: str, probing: Watch, looking_on: Watch) -> None:
    """As it is, under autocast, and with each kind of activation checkpointing."""
    row = ROWS[name]
    check_identity(row, ways_of(name), *((probing,) if row.probe_only else (probing, looking_on)))


def compiled(row: Row, backend: str, watch: Watch | None) -> dict[str, Any]:
    """A compiled model's training; raises if anything is compiled after its first step."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    model, inputs = row.build().train(), row.inputs()
    run = torch.compile(model, backend=backend)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    losses, counts = [], []
    for _ in range(STEPS):
        loss = first_tensor(call_model(run, inputs)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
        if watch is not None:
            watch.log(run, inputs)  # type: ignore[arg-type]
        counts.append(compilations())
    assert counts == counts[:1] * STEPS
    return {"losses": torch.stack(losses), **model.state_dict(), "torch": torch.get_rng_state()}


def check_compiled(row: Row, backend: str, watch: Watch) -> None:
    alone, before = compiled(row, backend, None), watch.captured
    watched = compiled(row, backend, watch)
    assert watch.captured == before + STEPS
    for name, expected in alone.items():
        assert torch.equal(expected, watched[name]), f"{name} differs"


COMPILED = [
    "nn.Transformer",
    "by hand",
    "timm ViT, fused",
    "transformers gpt2, sdpa",
    "transformers llama, eager",
]


@pytest.mark.filterwarnings("ignore")  # the compiler's own, of many kinds
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_training_is_bit_identical_and_nothing_is_compiled_again(
    name: str, probing: Watch
) -> None:
    check_compiled(ROWS[name], "aot_eager", probing)


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a compiler for C++")
def test_the_same_as_inductor_compiles_it(probing: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))  # setuptools, which it imports, adds to it
    config = importlib.import_module("torch._inductor.config")
    with config.patch(compile_threads=1):  # others would stay for later use
        check_compiled(ROWS["sdpa"], "inductor", probing)
