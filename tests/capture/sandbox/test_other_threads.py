"""Other threads that change what an extra forward would put back: nothing of theirs is lost."""

import queue
import random
import sys
import threading
import time
import traceback
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.tapping import TapLog
from torch import Tensor, nn

from attnmon.capture import ForwardStopped, ThreadReaches, probe
from attnmon.capture.sandbox.other_threads import find_reaching_thread

WIDTH = 8
X = torch.randn(3, 5, WIDTH)

prepared: deque[int] = deque()
seen: Counter[str] = Counter()
count = 0


class Store:
    """Holds what a thread prepares."""

    def __init__(self) -> None:
        self.items: list[int] = []
        self.at_step = 0

    def fill(self) -> None:
        self.items.append(1)

    def set_step(self) -> None:
        self.at_step += 1


class Reading(nn.Module):
    """Attends, and lets the other thread do its work in the middle of it."""

    def __init__(self, meanwhile: Callable[[], object], store: Any = None) -> None:
        super().__init__()
        self.inputs = nn.Linear(WIDTH, 3 * WIDTH)
        self.meanwhile, self.store = meanwhile, store
        self.unused: object = None

    def forward(self, x: Tensor) -> Tensor:
        self.meanwhile()
        query, key, value = self.inputs(x).chunk(3, -1)
        return F.scaled_dot_product_attention(query, key, value) * (1 + len(prepared) + len(seen))


class Worker:
    """A thread that works once for each call of `work_once`, which the model makes."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._wanted, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._work, self._ends = work, False
        self.thread = threading.Thread(target=self._run, name="preparing")

    def _run(self) -> None:
        while True:
            self._wanted.acquire(timeout=60)
            if self._ends:
                return
            self._work()
            self._done.release()

    def work_once(self) -> None:
        self._wanted.release()
        self._done.acquire(timeout=60)

    @contextmanager
    def running(self) -> Iterator[None]:
        self.thread.start()
        try:
            yield
        finally:
            self._ends = True
            self._wanted.release()
            self.thread.join()


def fill_a_deque() -> None:
    prepared.append(1)


def count_a_batch() -> None:
    seen["batch"] += 1


def count_on() -> None:
    global count
    count += 1


def nothing() -> None:
    """Changes nothing."""


def counted() -> int:
    return count


NOTHING: list[object] = [[], {}, 0, [], 0]


def of(store: Store) -> list[object]:
    return [list(prepared), dict(seen), count, list(store.items), store.at_step]


WORK: dict[str, Callable[[Store], Callable[[], object]]] = {
    "a global deque": lambda store: fill_a_deque,
    "a global counter": lambda store: count_a_batch,
    "a list of a shared object": lambda store: store.fill,
    "an attribute of a shared object": lambda store: store.set_step,
    "a list in a partial": lambda store: partial(store.items.append, 1),
    "a list in a closure": lambda store: lambda: store.items.append(1),
}


@pytest.fixture(autouse=True)
def _anew() -> None:
    global count
    prepared.clear(), seen.clear()
    count = 0


@pytest.mark.parametrize("name", WORK)
def test_nothing_that_another_thread_adds_is_lost(name: str) -> None:
    store = Store()
    worker = Worker(WORK[name](store))
    with worker.running():
        with pytest.raises(ThreadReaches, match="'preparing' runs, which may change a"):
            probe(Reading(worker.work_once, store), X, None, TapLog(), batch_dim=0)
        worker.work_once()
    assert of(store) != NOTHING


def test_nor_a_variable_that_it_sets() -> None:
    worker = Worker(count_on)
    with (
        worker.running(),
        pytest.raises(ThreadReaches, match="'preparing' runs, which may set count"),
    ):
        probe(Reading(counted), X, None, TapLog(), batch_dim=0)


@pytest.mark.parametrize("draw", [lambda: random.random(), lambda: np.random.rand(3)])
def test_nor_what_it_draws_from_the_generators_of_the_process(draw: Callable[[], object]) -> None:
    """Their states are put back after each extra forward, so that it would draw the same again."""
    worker = Worker(draw)
    with worker.running(), pytest.raises(ThreadReaches, match="may draw from a random generator"):
        probe(Reading(worker.work_once), X, None, TapLog(), batch_dim=0)


def test_a_thread_that_shares_nothing_is_in_nobody_s_way() -> None:
    """What both name and neither sets is shared as well, as most of a script's settings are."""
    worker, log = Worker(lambda: [None] * WIDTH), TapLog()
    with worker.running():
        probe(Reading(worker.work_once, Store()), X, None, log, batch_dim=0)
    assert len(log.calls) == 1


def test_what_the_forward_has_a_pool_do_is_its_own_and_put_back() -> None:
    store, log = Store(), TapLog()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(nothing).result()  # its thread is there, and waits
        probe(Reading(lambda: pool.submit(store.fill).result(), store), X, None, log, batch_dim=0)
    assert len(log.calls) == 1
    assert store.items == []


def frame_of(ident: int) -> FrameType:
    return sys._current_frames()[ident]


def test_the_thread_that_waits_for_this_one_is_in_nobody_s_way() -> None:
    """A training may run in a thread of a script, which holds all that there is."""
    store, log, waiting = Store(), TapLog(), threading.get_ident()

    def train() -> None:
        while "join" not in (frame.name for frame in traceback.extract_stack(frame_of(waiting))):
            time.sleep(0.001)
        probe(Reading(store.fill, store), X, None, log, batch_dim=0)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert len(log.calls) == 1
    assert store.items == []


def test_what_a_thread_has_let_go_of_is_not_kept_by_having_been_looked_at() -> None:
    held: list[weakref.ref[Store]] = []
    has_it, lets_go, gone, ends = (threading.Event() for _ in range(4))

    def work() -> None:
        store = Store()
        held.append(weakref.ref(store))
        has_it.set(), lets_go.wait(60)
        del store
        gone.set(), ends.wait(60)

    thread = threading.Thread(target=work)
    thread.start()
    has_it.wait(60)
    assert find_reaching_thread({id(held[0]())}, ()) is not None
    assert find_reaching_thread({id(X)}, ()) is None
    lets_go.set(), gone.wait(60)
    assert held[0]() is None
    ends.set(), thread.join()


def test_an_iterator_is_the_user_s_still_where_no_extra_forward_was_begun() -> None:
    model = Reading(nothing, iter(range(9)))
    model.unused = queue.Queue()
    with pytest.raises(ForwardStopped, match=r"a queue\.Queue is held"):
        probe(model, X, None, TapLog(), batch_dim=0)
    assert next(model.store) == 0


class Unfriendly:
    """Says what class it is only to those it knows."""

    @property
    def __class__(self) -> type:
        raise RuntimeError("none of your business")


def test_what_a_thread_holds_is_not_asked() -> None:
    """A proxy of what is gone raises at every question, and other objects run code of theirs."""
    gone = Store()
    held = [weakref.proxy(gone), Unfriendly()]
    del gone
    ending = threading.Event()

    def wait(things: list[object]) -> None:
        ending.wait()

    thread = threading.Thread(target=wait, args=(held,))
    thread.start()
    try:
        assert find_reaching_thread({id(X)}, ()) is None
    finally:
        ending.set()
        thread.join()
