"""Attention the user has himself, call from `record` to the next `log_attention`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from attnmon.capture import AttentionCall, CallInfo, parse_role
from attnmon.layers.layer_selection import LayerKey


class ManualAttention:
    """Keeps references only: what is not due is forgotten, and was never copied."""

    def __init__(self, sample: int) -> None:
        self.roles: dict[str, str] = {}
        """Name → role, where the user said it."""
        self._sample = sample
        self._calls: dict[LayerKey, ManualCall] = {}

    def add(self, call: AttentionCall, role: str | None) -> None:
        """Keep it; a name given several times is so many layers. Raises ValueError for a role."""
        if role is not None:
            parse_role(role)
            self.roles[call.name] = role
        calls = sum(name == call.name for name, _ in self._calls)
        seen = replace(call, call_index=calls)
        self._calls[call.name, calls] = ManualCall(seen, versions_of(seen))

    def clear(self) -> None:
        if self._calls:
            self._calls.clear()

    def call_infos(self) -> Iterator[tuple[LayerKey, CallInfo]]:
        for key, sample in self.samples():
            yield key, CallInfo.of(sample)

    def samples(self) -> Iterator[tuple[LayerKey, AttentionCall]]:
        """One sample of each; the last, where there are fewer than were asked for."""
        for key, call in self._calls.items():
            batch = call.call.batch
            yield key, call.unchanged().of_sample(min(self._sample, max(batch - 1, 0)))


@dataclass(frozen=True, slots=True)
class ManualCall:
    """What was given, and the versions its tensors had then."""

    call: AttentionCall
    versions: tuple[int, ...]

    def unchanged(self) -> AttentionCall:
        """The observation; marked when its tensors were written to since it was given."""
        if versions_of(self.call) == self.versions:
            return self.call
        return replace(self.call, note="changed in place after it was recorded")


def versions_of(call: AttentionCall) -> tuple[int, ...]:
    given = (call.weights, call.query, call.key, call.bias)
    return tuple(version_of(tensor) for tensor in given if isinstance(tensor, Tensor))


def version_of(tensor: Tensor) -> int:
    """How often it was written to; tensors made in inference mode do not count."""
    return 0 if tensor.is_inference() else tensor._version
