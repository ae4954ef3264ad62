"""A stand-in for a CUDA device whose copies take a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch


class SlowDevice:
    """Stands in for `torch.cuda`: its events fire when told to, or after so many queries.

    pins: whether memory can be registered with it. queries: None if events fire only when told.
    """

    def __init__(self, *, pins: bool = True, queries: int | None = None) -> None:
        self.pins = pins
        self.queries = queries
        self.fired = False
        self.log: list[str] = []

    def cudart(self) -> Any:
        def register(pointer: int, nbytes: int, flags: int) -> int:
            self.log.append("register")
            return 0 if self.pins else 1

        return SimpleNamespace(
            cudaHostRegister=register,
            cudaHostUnregister=lambda pointer: self.log.append("unregister"),
        )

    def Stream(self, device: torch.device) -> Any:  # noqa: N802 - as torch.cuda has it
        return SimpleNamespace(wait_stream=lambda other: self.log.append(f"wait for {other}"))

    def Event(self) -> Any:  # noqa: N802
        left = self.queries

        def query() -> bool:
            nonlocal left
            if left is not None:
                left -= 1
            return self.fired or (left is not None and left < 0)

        return SimpleNamespace(
            record=lambda stream: self.log.append("record"),
            query=query,
            synchronize=self.fire,
        )

    def fire(self) -> None:
        self.fired = True

    def current_stream(self, device: torch.device) -> str:
        return "training"

    @contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        self.log.append("on the side stream")
        yield
