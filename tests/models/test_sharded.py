"""Several processes: looking on one rank of DDP, and on all of FSDP2, changes nothing on any."""

import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from support.forked_script import PipedScript, program_of
from support.tapping import TapLog
from torch import Tensor, nn

from attnmon.capture import Tap, module_names, probe

RANKS, WIDTH, HEADS = 2, 16, 4
SECONDS = 60


@pytest.mark.skipif(not dist.is_gloo_available(), reason="gloo is not here")
def test_training_is_bitwise_the_same_on_all_ranks(tmp_path: Path) -> None:
    meeting = str(tmp_path / "meeting")
    ranks = [PipedScript(program_of(__file__), meeting, str(rank)) for rank in range(RANKS)]
    for rank in ranks:
        _, errors = rank.communicate(timeout=SECONDS)
        assert rank.returncode == 0, errors


def compare(path: str, rank: int) -> None:
    """One rank of four trainings: of each kind, one alone and one looked at."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{path}", rank=rank, world_size=RANKS)
    for way in ("ddp", "fsdp"):
        alone, watched = (train(way, watched, rank) for watched in (False, True))
        assert all(map(torch.equal, alone, watched)), way
    dist.destroy_process_group()


def train(way: str, watched: bool, rank: int) -> list[Tensor]:
    """Losses, what this rank holds of the parameters, and the random state."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 32, dropout=0.1, batch_first=True)
    model = wrapped(way, nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    x, losses = torch.randn(3, 5, WIDTH) + rank, list[Tensor]()
    for _ in range(3):
        log = TapLog()
        if watched and way == "fsdp":  # its forward gathers weights: no extra one is ever made
            with Tap(module_names(model), log):
                loss = model(x).square().mean()
        else:
            loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if watched and way == "ddp" and rank == 0:
            probe(model, x, None, log, batch_dim=0)
        layers = [f"layers.{at}.self_attn" for at in (0, 1)]
        looks = {"ddp": rank == 0, "fsdp": 1}[way] * watched
        assert [call.name for call in log.calls] == layers * looks
        losses.append(loss.detach())
    kept = [getattr(p, "to_local", lambda p=p: p)().detach() for p in model.parameters()]
    return [*losses, *kept, torch.get_rng_state()]


def wrapped(way: str, model: nn.Module) -> nn.Module:
    if way == "ddp":
        return nn.parallel.DistributedDataParallel(model)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (RANKS,))
    for layer in model.layers:  # type: ignore[union-attr]
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


if __name__ == "__main__":
    compare(sys.argv[1], int(sys.argv[2]))
