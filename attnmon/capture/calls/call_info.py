"""What is remembered of an attention call when its tensors are gone."""

from dataclasses import dataclass

from attnmon.capture.calls.attention_call import AttentionCall, is_causal
from attnmon.capture.lineage.layout import Layout


@dataclass(frozen=True, slots=True)
class CallInfo:
    """One attention call without its tensors. The fields are as in `AttentionCall`."""

    name: str
    call_index: int
    source: str
    heads: int
    queries: int
    keys: int
    causal: bool
    """Whether no query sees a later key."""
    batch: int = 1
    note: str = ""
    layout: Layout | None = None
    is_cross: bool | None = None

    @classmethod
    def of(cls, call: AttentionCall, samples: int = 0) -> "CallInfo":
        """Describes a call. Reads its first sample, to see whether it is causal.

        samples: number of samples in the model's batch; 0 if unknown.
        """
        one = call.of_model_sample(0, samples) if call.batch else call
        more = max(one.keys - one.queries, 0)
        ways = {(0, 0), (more, 0), (0, more)}
        causal = bool(call.batch) and any(is_causal(one, *way) for way in sorted(ways))
        return cls(
            one.name, one.call_index, one.source, one.heads, one.queries, one.keys, causal,
            call.batch, one.note, call.layout, call.is_cross,
        )  # fmt: skip
