"""Triton's driver of a CUDA device that is not there: it notes what is launched."""

from typing import Any

from triton.backends.compiler import GPUTarget

LEAST_SHARED = 99 * 1024
"""Bytes of shared memory that a program may have on every device of capability 8.0 or later."""


class NotedDriver:
    """Stands in for Triton's own, with `driver.set_active`; `capability` as 90."""

    def __init__(self, capability: int) -> None:
        self.launches: list[dict[str, Any]] = []
        self.target = GPUTarget("cuda", capability, 32)
        self.utils = self

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": LEAST_SHARED}

    def load_binary(self, name: str, binary: bytes, shared: int, device: int) -> Any:
        return object(), object(), 0, 0, 1024

    def launcher_cls(self, source: Any, metadata: Any) -> Any:
        def run(x: int, y: int, z: int, *given: Any) -> None:
            told = {"name": metadata.name, "grid": [x, y, z], "shared": metadata.shared}
            self.launches.append(told)

        return run
