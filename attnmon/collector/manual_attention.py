"""Attention the user has himself, kept from `record` to the next `log_attention`."""

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
        self._kept: dict[LayerKey, ManualCall] = {}

    def add(self, observation: AttentionCall, role: str | None) -> None:
        """Keep it; a name given several times is so many layers. Raises ValueError for a role."""
        if role is not None:
            parse_role(role)
            self.roles[observation.name] = role
        calls = sum(name == observation.name for name, _ in self._kept)
        seen = replace(observation, call=calls)
        self._kept[observation.name, calls] = ManualCall(seen, versions_of(seen))

    def forget(self) -> None:
        if self._kept:
            self._kept.clear()

    def sightings(self) -> Iterator[tuple[LayerKey, CallInfo]]:
        for key, sample in self.samples():
            yield key, CallInfo.of(sample)

    def samples(self) -> Iterator[tuple[LayerKey, AttentionCall]]:
        """One sample of each; the last, where there are fewer than were asked for."""
        for key, kept in self._kept.items():
            batch = kept.observation.batch
            yield key, kept.unchanged().of_sample(min(self._sample, max(batch - 1, 0)))


@dataclass(frozen=True, slots=True)
class ManualCall:
    """What was given, and the versions its tensors had then."""

    observation: AttentionCall
    versions: tuple[int, ...]

    def unchanged(self) -> AttentionCall:
        """The observation; marked when its tensors were written to since it was given."""
        if versions_of(self.observation) == self.versions:
            return self.observation
        return replace(self.observation, note="changed in place after it was recorded")


def versions_of(observation: AttentionCall) -> tuple[int, ...]:
    given = (observation.weights, observation.query, observation.key, observation.bias)
    return tuple(version_of(tensor) for tensor in given if isinstance(tensor, Tensor))


def version_of(tensor: Tensor) -> int:
    """How often it was written to; tensors made in inference mode do not count."""
    return 0 if tensor.is_inference() else tensor._version
