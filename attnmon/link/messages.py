"""The messages between the training process and the renderer.

The schema is closed: it is the fields of these classes, and a message with one more, one less,
or one of another type or range is refused on receipt. What several of them hold is in `records`.
Nothing here moves bytes; `channel` does.

    training process → renderer     Setup  Capture …  Release …  Dump …  Remarks …  Goodbye
    renderer → training process     Acknowledgement …  Refusal
"""

import math
from dataclasses import dataclass
from typing import Literal

from attnmon.link.records.alert import Alert
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock, Slots
from attnmon.link.records.run_setup import Setup
from attnmon.link.records.sample_image import SampleImage
from attnmon.link.records.schema import Schema, require
from attnmon.link.records.training_accounts import Accounts, Remarks

VERSION = 8

SeenIn = Literal["forward", "probe", "recorded"]


@dataclass(frozen=True, slots=True)
class Capture:
    """All attention captured at one step.

    Its slots belong to the receiver until it acknowledges. Those of a retained capture stay the
    sender's: the receiver reads them only after a `Dump`, or after the sender's death, and not
    once a message has released them.
    """

    sequence: int
    step: int
    by_epoch: bool
    """Whether it was due because of `save_on_epochs`, not of `save_frequency`."""
    epoch: int | None
    loss: float | None
    lr: float | None
    timestamp: float
    sample: int
    """Index in the batch of the captured sample."""
    slots: tuple[Slots, ...]
    attentions: tuple[Attention, ...]
    accounts: Accounts
    seen_in: SeenIn = "probe"
    """The forward pass of the training step, dropout included; an extra one ("probe"); or what the
    user recorded."""
    encoder_tokens: tuple[str, ...] = ()
    decoder_tokens: tuple[str, ...] = ()
    """The token at each position of the sample, where the user named them."""
    retained_from: int | None = None
    """None: draw this capture. Otherwise retain it, together with the retained captures from this
    sequence number on; those before are released."""
    dump_reason: str = ""
    """Why a retained capture is drawn after all; empty for one that was due."""
    image: SampleImage | None = None
    """What the model saw, where that was asked for and is an image."""
    grad_norm: float | None = None
    encoder_padding: ArrayBlock | None = None
    """bool [positions] True for those of the sample that are padding, as the user's batch says."""
    decoder_padding: ArrayBlock | None = None
    decoder_reads_ids: bool = False
    """Whether the decoder is given tokens, as numbers: it then is to say what the next one is."""

    def __post_init__(self) -> None:
        for name in ("encoder_padding", "decoder_padding"):
            block: ArrayBlock | None = getattr(self, name)
            require(block is None or (len(block.shape), block.dtype) == (1, "bool"), name, block)
        require(self.sequence >= 0, "sequence", self.sequence)
        require(
            self.retained_from is None or self.retained_from >= 0,
            "retained_from",
            self.retained_from,
        )
        require(len(self.attentions) > 0, "attentions", 0)

    @property
    def weight_count(self) -> int:
        """The number of weights of all layers, which the work on it is proportional to."""
        return sum(math.prod(attention.shape) for attention in self.attentions)

    def require_inside(self, ring_bytes: int, slot_bytes: int) -> None:
        """Raise `MessageError` unless each array lies inside the capture's slots."""
        spans = [
            (run.first * slot_bytes, (run.first + run.count) * slot_bytes) for run in self.slots
        ]
        require(all(end <= ring_bytes for _, end in spans), "slots", self.slots)
        for block in self.blocks:
            end = block.offset + block.nbytes
            inside = any(low <= block.offset and end <= high for low, high in spans)
            require(inside, "block", (block.offset, block.nbytes))

    @property
    def blocks(self) -> tuple[ArrayBlock, ...]:
        """All arrays that were sent."""
        image = None if self.image is None else self.image.pixels
        others = (image, self.encoder_padding, self.decoder_padding)
        of_layers = (block for layer in self.attentions for block in layer.blocks)
        return (*of_layers, *(block for block in others if block is not None))


@dataclass(frozen=True, slots=True)
class Release:
    """Releases the retained captures with a lower sequence number: do not read them any more."""

    before: int


@dataclass(frozen=True, slots=True)
class Dump:
    """Has retained captures drawn: from now on their slots belong to the receiver."""

    reason: str
    sequences: tuple[int, ...]
    accounts: Accounts
    """With these captures counted."""


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Closes the run in order. Without it, a closed channel means that the process died."""

    accounts: Accounts


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A capture's results are on disk, or its failure is recorded: its slots are free again."""

    sequence: int
    error: str = ""
    """What failed; empty when everything was drawn."""
    notices: tuple[tuple[str, str], ...] = ()
    """(kind, text): what the user should be told, once for each kind."""
    alerts: tuple[Alert, ...] = ()
    """The alerts that this capture has changed."""
    competed: float = 0.0
    """Seconds of processor time that it has taken from the training, where no core was free."""
    verdicts: tuple[tuple[str, str], ...] = ()
    """(kernel, difference) for each layer that was made on a device and here; the difference is
    empty where both are one."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The renderer accepts no captures, or no more; acknowledgements may still follow."""

    reason: str


Message = Setup | Capture | Goodbye | Acknowledgement | Refusal | Release | Dump | Remarks

_SCHEMA: Schema[Message] = Schema(
    VERSION,
    (Setup, Capture, Goodbye, Acknowledgement, Refusal, Release, Dump, Remarks),
    kept="attentions",
)
encode = _SCHEMA.encode
decode = _SCHEMA.decode
