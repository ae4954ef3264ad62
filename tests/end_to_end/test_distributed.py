"""Several processes that train together, watched on one or on all; none waits for another.

Each test starts processes as torchrun does, by environment variables; this file is their program.
A watched training must take the same steps to the same numbers, on every process.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from support.models import LanguageModel, batch
from support.outputs import check_outputs, history, summary
from support.processes import run_on_all
from torch import Tensor, nn

from attnmon import TrainingAttentionMonitor

PROCESSES = 2
STEPS = 5
FEW: Any = {"save_frequency": 2, "save_on_epochs": None, "visualization_types": ["statistics"]}
pytestmark = pytest.mark.skipif(not dist.is_gloo_available(), reason="gloo is not here")


def run(program: str, folder: Path) -> None:
    run_on_all(__file__, PROCESSES, program, folder)


def check(folder: Path, rank: int, steps: Iterable[int]) -> None:
    """Asserts that a process's files are whole and say which rank wrote them."""
    lines = [line["metadata"] for line in history(folder)]
    assert [line["step"] for line in lines] == list(steps)
    assert {line["rank"] for line in lines} == {rank}
    accounts = summary(folder)
    assert (accounts["rank"], accounts["world_size"]) == (rank, PROCESSES)
    assert accounts["rendered"] == len(lines)
    check_outputs(folder)


def test_ddp_is_watched_on_one_process_or_on_all(tmp_path: Path) -> None:
    run("ddp", tmp_path)
    check(tmp_path / "zero", 0, range(STEPS))
    assert not list((tmp_path / "zero").glob("rank_*"))
    for rank in range(PROCESSES):
        check(tmp_path / "all" / f"rank_0000{rank}", rank, range(STEPS))
    check(tmp_path / "last" / "rank_00001", 1, range(STEPS))
    assert len(list((tmp_path / "last").iterdir())) == 1
    of_all = [history(tmp_path / "all" / f"rank_0000{rank}")[0] for rank in range(PROCESSES)]
    assert of_all[0]["decoder"] != of_all[1]["decoder"], "each has its own part of the batch"


def test_fsdp_is_watched_in_its_own_forward(tmp_path: Path) -> None:
    run("fsdp", tmp_path)
    check(tmp_path / "zero", 0, range(STEPS))
    for rank in range(PROCESSES):
        check(tmp_path / "all" / f"rank_0000{rank}", rank, range(STEPS))


@pytest.mark.parametrize("framework", ["transformers", "lightning"])
def test_a_trainer_is_watched_on_one_process_or_on_all(framework: str, tmp_path: Path) -> None:
    pytest.importorskip(framework)
    run(framework, tmp_path)
    steps = {"transformers": [1, 2, 4], "lightning": [0, 2]}[framework]
    check(tmp_path / "zero" / "attention_logs", 0, steps)
    for rank in range(PROCESSES):
        check(tmp_path / "all" / "attention_logs" / f"rank_0000{rank}", rank, steps)


# What the processes run


def ddp(folder: Path) -> None:
    def wrap(model: nn.Module) -> nn.Module:
        return nn.parallel.DistributedDataParallel(model)

    alone = train(wrap)
    for name, ranks in (("zero", "zero"), ("all", "all"), ("last", [PROCESSES - 1])):
        assert equal(train(wrap, folder / name, ranks), alone), name


def fsdp(folder: Path) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (PROCESSES,))

    def wrap(model: nn.Module) -> nn.Module:
        for block in model.blocks:  # type: ignore[union-attr]
            fully_shard(block, mesh=mesh)
        return fully_shard(model, mesh=mesh)

    alone = train(wrap)
    for ranks in ("zero", "all"):
        assert equal(train(wrap, folder / ranks, ranks), alone), ranks


def transformers(folder: Path) -> None:
    from support.hf_trainer import logged, trainer

    from attnmon.integrations.huggingface import AttentionCallback

    def fit(name: str, *callbacks: Any) -> list[Tensor]:
        done = trainer(folder / name, *callbacks, max_steps=4, ddp_backend="gloo")
        done.train()
        losses = [torch.tensor(loss) for loss in logged(done, "loss").values()]
        return [*losses, *(p.detach() for p in done.model.parameters()), torch.get_rng_state()]

    alone = fit("alone")
    for ranks in ("zero", "all"):
        callback = AttentionCallback(ranks=ranks, **FEW)
        assert equal(fit(ranks, callback), alone), ranks


def lightning(folder: Path) -> None:
    import lightning.pytorch as tree
    from support.lightning_trainer import fit

    from attnmon.integrations.lightning import AttentionCallback

    def losses_of(name: str, *callbacks: Any) -> list[Tensor]:
        options = {"strategy": "ddp", "devices": PROCESSES, "max_steps": 4}
        module = fit(tree, folder / name, *callbacks, **options)
        losses = [torch.tensor(loss) for loss in module.losses]
        return [*losses, *(p.detach() for p in module.parameters()), torch.get_rng_state()]

    alone = losses_of("alone")
    for ranks in ("zero", "all"):
        callback = AttentionCallback(ranks=ranks, **FEW)
        assert equal(losses_of(ranks, callback), alone), ranks


def train(
    wrap: Callable[[nn.Module], nn.Module], folder: Path | None = None, ranks: Any = "zero"
) -> list[Tensor]:
    """Trains. Returns losses, this process's part of the parameters, and the random state."""
    torch.manual_seed(0)
    model, losses = wrap(LanguageModel()), list[Tensor]()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    monitor = None
    if folder is not None:
        monitor = TrainingAttentionMonitor(
            folder, 1, ranks=ranks, layers_to_visualize="all", visualization_types=["statistics"]
        )
        monitor.attach(model)
    for step in range(STEPS):
        tokens = batch(seed=step * PROCESSES + dist.get_rank())
        loss = nn.functional.dropout(model(tokens), 0.1).logsumexp(-1).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
        if monitor is not None:
            monitor.log_attention(model, tokens, step=step, loss=loss.item())
    if monitor is not None:
        monitor.close()
    kept = [getattr(p, "to_local", lambda p=p: p)().detach() for p in model.parameters()]
    return [*losses, *kept, torch.get_rng_state()]


def equal(these: list[Tensor], those: list[Tensor]) -> bool:
    return len(these) == len(those) and all(map(torch.equal, these, those))


def main(program: str, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    programs = {"ddp": ddp, "fsdp": fsdp, "transformers": transformers, "lightning": lightning}
    programs[program](Path(folder))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
