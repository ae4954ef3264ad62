"""Models whose own forward talks to the other processes: none of them waits because of us.

Each test starts all processes once; this file is their program. Every training is made without a
monitor as well, and must come to the same numbers.
"""

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from support.outputs import history, summary
from support.processes import run_on_all
from support.tapping import TapLog
from torch import Tensor, nn

from attnmon import LightweightAttentionMonitor
from attnmon.capture import ForwardStopped, probe

WIDTH, STEPS = 8, 4
SECONDS = 20
"""After this time a process that waits for another gives up."""

CAPTURES: Any = ("auto", "forward", "probe")

pytestmark = pytest.mark.skipif(not dist.is_gloo_available(), reason="gloo is not here")


@pytest.mark.parametrize("processes", [2, 4])
def test_a_forward_that_talks_to_others_is_seen_at_the_next_step(
    processes: int, tmp_path: Path
) -> None:
    run_on_all(__file__, processes, tmp_path)
    for capture in CAPTURES:
        accounts = summary(tmp_path / capture)
        steps = [line["metadata"]["step"] for line in history(tmp_path / capture)]
        stopped = [text for text in accounts["warnings"] if "was stopped" in text]
        assert steps == [1, 2, 3]
        assert len(stopped) == (capture == "probe"), "it is tried once if it is asked for"
        assert all("would have communicated with other processes" in text for text in stopped)


# What the processes run

Talk = Callable[[Tensor], Tensor]
WAYS: dict[str, Talk] = {}


def way(talk: Talk) -> Talk:
    WAYS[talk.__name__] = talk
    return talk


@way
def reduces(x: Tensor) -> Tensor:
    total = x.detach().mean()
    dist.all_reduce(total)
    return total


@way
def gathers(x: Tensor) -> Tensor:
    all_of_them = [torch.zeros(WIDTH) for _ in range(dist.get_world_size())]
    dist.all_gather(all_of_them, x.detach().mean((0, 1)))
    return torch.cat(all_of_them).sum()


@way
def gathers_objects(x: Tensor) -> Tensor:
    numbers: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(numbers, x.mean().item())
    return torch.tensor(sum(numbers))


@way
def broadcasts_objects(x: Tensor) -> Tensor:
    number = [x.mean().item()]
    dist.broadcast_object_list(number, src=0)
    return torch.tensor(number[0])


@way
def waits_at_a_barrier(x: Tensor) -> Tensor:
    dist.barrier()
    return x.detach().mean()


@way
def sends_to_its_neighbour(x: Tensor) -> Tensor:
    size, rank, received = dist.get_world_size(), dist.get_rank(), torch.zeros(())
    sent = dist.isend(x.detach().mean(), (rank + 1) % size)
    dist.recv(received, (rank - 1) % size)
    assert sent is not None
    sent.wait()
    return received


@way
def makes_a_group(x: Tensor) -> Tensor:
    total = x.detach().mean()
    dist.all_reduce(total, group=dist.new_group([*range(dist.get_world_size())]))
    return total


@way
def counts_in_the_store(x: Tensor) -> Tensor:
    store = dist.distributed_c10d._get_default_store()
    return torch.tensor(float(store.add("forwards", 0)))


@way
def asks_the_backend(x: Tensor) -> Tensor:
    total = x.detach().mean()
    group: Any = dist.group.WORLD
    group._get_backend(torch.device("cpu")).allreduce([total]).wait()
    return total


@way
def says_all_of_this(x: Tensor) -> Tensor:
    others = [talk for talk in WAYS.values() if talk is not says_all_of_this]
    return torch.stack([talk(x) for talk in others]).sum()


class Talking(nn.Module):
    """Attends, and then exchanges something with all other processes."""

    def __init__(self, talk: Talk) -> None:
        super().__init__()
        self.inputs, self.talk = nn.Linear(WIDTH, 3 * WIDTH), talk

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.inputs(x).chunk(3, -1)
        y = F.scaled_dot_product_attention(query, key, value)
        return y * (1 + self.talk(y))


Log = Callable[[nn.Module, Tensor, int], object]


def train(talk: Talk, log: Log) -> list[Tensor]:
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(Talking(talk))
    optimizer, losses = torch.optim.SGD(model.parameters(), 0.1), list[Tensor]()
    torch.manual_seed(dist.get_rank())
    for step in range(STEPS):
        x = torch.randn(3, 5, WIDTH)
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        log(model, x, step)
    return [*losses, *(p.detach() for p in model.parameters()), torch.get_rng_state()]


def probed(model: nn.Module, x: Tensor, step: int) -> None:
    """Makes an extra forward on one process alone, which has to be stopped."""
    if dist.get_rank() == 0:
        with pytest.raises(ForwardStopped, match="would have communicated"):
            probe(model, x, None, TapLog(), batch_dim=0)


def check_each_way_is_stopped() -> None:
    for name, talk in WAYS.items():
        alone, watched = train(talk, lambda *_: None), train(talk, probed)
        assert all(map(torch.equal, watched, alone)), name


def check_each_setting(folder: Path) -> None:
    alone = train(says_all_of_this, lambda *_: None)
    for capture in CAPTURES:
        with LightweightAttentionMonitor(folder / capture, 1, capture=capture) as monitor:
            watched = train(
                says_all_of_this,
                lambda *logged: monitor.log_attention(logged[0], logged[1], step=logged[2]),
            )
        assert all(map(torch.equal, watched, alone)), capture


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=SECONDS))
    check_each_way_is_stopped()
    check_each_setting(folder)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
