"""Attention that the user has himself, from `record` to the next `log_attention`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from attnmon.capture import AttentionCall, CallInfo
from attnmon.layers.layer_numbering import LayerKey, parse_role


class ManualAttention:
    """The calls recorded since the last step. Holds references: only a due step copies them."""

    def __init__(self, sample: int) -> None:
        """`sample`: the index in the batch of the sample to capture."""
        self.roles: dict[str, str] = {}
        """Name → role, where the user gave one."""
        self._sample = sample
        self._calls: dict[LayerKey, ManualCall] = {}

    def add(self, call: AttentionCall, role: str | None) -> None:
        """Add a call; a name that is given several times stands for as many layers.

        Raises ValueError for an unknown role.
        """
        if role is not None:
            parse_role(role)
            self.roles[call.name] = role
        call_index = sum(name == call.name for name, _ in self._calls)
        indexed = replace(call, call_index=call_index)
        self._calls[call.name, call_index] = ManualCall(indexed, versions_of(indexed))

    def __bool__(self) -> bool:
        """Whether anything was recorded since the last step."""
        return bool(self._calls)

    def clear(self) -> None:
        """Drop all calls; their roles stay known."""
        if self._calls:
            self._calls.clear()

    def call_infos(self) -> Iterator[tuple[LayerKey, CallInfo]]:
        """Yield a description of each call."""
        for key, sample in self.samples():
            yield key, CallInfo.of(sample)

    def samples(self) -> Iterator[tuple[LayerKey, AttentionCall]]:
        """Yield one sample of each call: the last one, where the batch is too small."""
        for key, manual in self._calls.items():
            last = max(manual.call.batch - 1, 0)
            yield key, manual.marked_if_changed().of_sample(min(self._sample, last))


@dataclass(frozen=True, slots=True)
class ManualCall:
    """A call that the user gave, and the versions its tensors had then."""

    call: AttentionCall
    versions: tuple[int, ...]

    def marked_if_changed(self) -> AttentionCall:
        """Return the call, with a note if its tensors were written to since it was given."""
        if versions_of(self.call) == self.versions:
            return self.call
        return replace(self.call, note="changed in place after it was recorded")


def versions_of(call: AttentionCall) -> tuple[int, ...]:
    """Return the versions of the call's tensors."""
    given = (call.weights, call.query, call.key, call.bias)
    return tuple(version_of(tensor) for tensor in given if isinstance(tensor, Tensor))


def version_of(tensor: Tensor) -> int:
    """Return how often it was written to; 0 for a tensor made in inference mode."""
    return 0 if tensor.is_inference() else tensor._version
