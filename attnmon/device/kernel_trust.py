"""Which kernels are trusted: those whose first layer the renderer has made too, with one result."""

from attnmon.device.layer_tensors import KernelKind


class KernelTrust:
    """The kinds of kernels that were tried, and what came of it."""

    def __init__(self) -> None:
        self._names: dict[KernelKind, str] = {}
        self._refused: dict[str, str] = {}
        self.trusted: set[str] = set()
        """The names of those that were found to be right."""

    def name_of(self, kind: KernelKind) -> str:
        """Return by which name the renderer answers for a kind."""
        return self._names.setdefault(kind, f"kernel {len(self._names)}")

    def is_trusted(self, name: str) -> bool:
        """Return whether what it makes was found to be right."""
        return name in self.trusted

    def refusal(self, kind: KernelKind) -> str:
        """Return why it is not used any more; empty if it is, or was not tried."""
        return self._refused.get(self._names.get(kind, ""), "")

    def refuse(self, kind: KernelKind, reason: str) -> None:
        """Use it no more."""
        self._refused[self.name_of(kind)] = reason

    def settle(self, name: str, difference: str) -> None:
        """Take in what the renderer found; `difference` is empty where both results are one."""
        if difference:
            self.trusted.discard(name)
            self._refused[name] = difference
        elif name not in self._refused:
            self.trusted.add(name)
