"""The messages between the training process and the renderer.

The schema is closed: it is the fields of these classes, and a message with one more, one less,
or one of another type or range is refused on receipt. Nothing here moves bytes; `channel` does.

    training process → renderer     Setup  Capture …  Release …  Dump …  Remarks …  Goodbye
    renderer → training process     Acknowledgement …  Refusal
"""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from attnmon.link.alert import Alert, Severity
from attnmon.link.dtypes import DTYPES
from attnmon.link.schema import MessageError, Schema, require
from attnmon.link.summaries.summary_parts import (
    COLUMN_PARTS,
    KEY_PARTS,
    LOGIT_PARTS,
    ROW_PARTS,
)

VERSION = 7

MASKED_BIAS = -9e3
"""A bias at or below this forbids the key, for both processes.

Models that know no bool masks add -inf, the least number of a dtype (-65504 in float16), -1e9 or
-1e4. bfloat16 rounds -1e4 to -9984, so that -1e4 itself would miss it. Position biases such as
ALiBi's stay far above.
"""
WEAKEST_MASK = -50.0
"""Of a bias that has no other values but 0 and this, or less, that number forbids the key too.

Some windows are masked by -100. A weight is less than 2e-22 then.
"""
LONGEST_SIDE = 1 << 22
"""The largest dimension of an array: the renderer holds a few rows of so many keys at once."""
LONGEST_ERROR = 500
"""The most characters of an error in `Accounts`, which travel with every message; of a remark."""
MOST_REMARKS = 20
"""The most warnings in `Remarks`, and the most lines about what is not seen."""
MOST_CPUS = 1 << 16
MOST_MAP_SIDE = 1024
"""The most cells a side of a map that is stored."""
LONGEST_IMAGE_SIDE = 256
"""The most pixels a side of a sample's image."""

Stack = Literal["encoder", "decoder"]
AttentionType = Literal["self_attention", "cross_attention"]
SeenIn = Literal["forward", "probe", "recorded"]


@dataclass(frozen=True, slots=True)
class Slots:
    """A run of neighbouring slots of the ring. They belong to whoever holds the message."""

    first: int
    count: int

    def __post_init__(self) -> None:
        require(self.first >= 0 and self.count > 0, "slots", (self.first, self.count))


@dataclass(frozen=True, slots=True)
class ArrayBlock:
    """An array in the ring, in C order."""

    offset: int
    """Bytes from the start of the ring."""
    dtype: str
    """A name of `DTYPES`."""
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        require(self.dtype in DTYPES, "dtype", self.dtype)
        require(len(self.shape) <= 4, "shape", self.shape)
        require(all(0 <= n <= LONGEST_SIDE for n in self.shape), "shape", self.shape)
        require(self.offset >= 0, "offset", self.offset)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize


@dataclass(frozen=True, slots=True)
class SummarisedHeads:
    """What a device has made of some heads of a layer, side by side in the ring."""

    rows: ArrayBlock
    """[heads, programs, …], by `ROW_PARTS`"""
    columns: ArrayBlock
    """[heads, programs, …], by `COLUMN_PARTS`"""
    keys: ArrayBlock
    """[heads, …], by `KEY_PARTS`"""
    logits: ArrayBlock
    """[heads, …, query cells], by `LOGIT_PARTS`; also without a map."""
    query_lengths: ArrayBlock
    """[heads, …] Lengths of some query vectors."""
    key_lengths: ArrayBlock
    """[key heads, …] Of some key vectors."""
    strongest: ArrayBlock
    """[heads, query cells] The key with the largest weight; [heads, 0] without a map."""
    cells: ArrayBlock
    """[heads, query cells, key cells] The map, pooled by mass; the sign of a cell is set where no
    query that counts may attend to any of its keys. [heads, 0, 0] without a map."""

    def __post_init__(self) -> None:
        parts = (len(ROW_PARTS), len(COLUMN_PARTS), len(KEY_PARTS))
        for block, dimensions in zip(self.blocks, (3, 3, 2, 3, 2, 2, 2, 3), strict=True):
            require(len(block.shape) == dimensions, "shape", block.shape)
        found = tuple(block.shape[-1] for block in self.blocks[:3])
        require(found == parts, "parts", found)
        require(self.logits.shape[1] == len(LOGIT_PARTS), "parts", self.logits.shape)
        heads = {block.shape[0] for block in self.blocks if block is not self.key_lengths}
        require(len(heads) == 1, "heads", heads)
        require(self.strongest.shape == self.cells.shape[:2], "cells", self.cells.shape)
        dtypes = tuple(block.dtype for block in self.blocks)
        require(dtypes == (*["float32"] * 6, "int32", "float16"), "dtypes", dtypes)

    @property
    def blocks(self) -> tuple[ArrayBlock, ...]:
        """All its arrays, in the order in which they lie."""
        return (
            self.rows, self.columns, self.keys, self.logits, self.query_lengths,
            self.key_lengths, self.strongest, self.cells,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """What a device has made of a layer: its statistics, and a map where one is wanted."""

    shape: tuple[int, int, int]
    """(heads, queries, keys)"""
    width: int
    """Of a query."""
    query_step: int
    key_step: int
    """Positions in a cell of the map."""
    kernel: str
    """By which name the renderer answers for the kernel that made it."""
    heads: tuple[SummarisedHeads, ...]
    """One group of heads after the other."""
    knows_padding: bool = False
    """Whether what real queries give to declared padding was summed up."""
    ends: ArrayBlock | None = None
    """int32 [2, queries] The first and the last key that a query may attend to, where the mask
    differs from query to query and is not sent: the number of keys, and −1, where there is none."""
    padding: ArrayBlock | None = None
    """bool [queries] True for those that are padding; beside `ends`."""

    def __post_init__(self) -> None:
        heads, queries, keys = self.shape
        require(all(0 < n <= LONGEST_SIDE for n in self.shape), "shape", self.shape)
        steps = (self.query_step, self.key_step)
        require(all(0 < step <= LONGEST_SIDE for step in steps), "step", steps)
        require(self.width >= 0, "width", self.width)
        require(sum(some.rows.shape[0] for some in self.heads) == heads, "heads", heads)
        cells = (-(-queries // self.query_step), -(-keys // self.key_step))
        of_mask = ((self.ends, "int32", (2, queries)), (self.padding, "bool", (queries,)))
        for block, dtype, shape in of_mask:
            require(block is None or (block.dtype, block.shape) == (dtype, shape), "mask", block)
        require((self.ends is None) == (self.padding is None), "mask", self.padding)
        found = {some.cells.shape[1:] for some in self.heads}
        require(found in ({cells}, {(0, 0)}), "cells", found)
        rows = {some.logits.shape[2] for some in self.heads}
        require(rows == {cells[0]}, "rows of cells", rows)

    @property
    def blocks(self) -> tuple[ArrayBlock, ...]:
        """All its arrays."""
        mask = (self.ends, self.padding)
        of_heads = (block for some in self.heads for block in some.blocks)
        return (*of_heads, *(block for block in mask if block is not None))

    @property
    def has_map(self) -> bool:
        return self.heads[0].cells.shape[1] > 0


@dataclass(frozen=True, slots=True)
class Attention:
    """One layer's attention for one sample: its weights, or what they are computed from.

    The weights are ``softmax(softcap(scale · query · keyᵀ) + bias, masked)`` over the keys, before
    dropout, with one more column for ``sinks`` that is left out again after the softmax.
    """

    name: str
    stack: Stack
    layer: int
    type: AttentionType
    source: str
    """The call it was captured from: "scaled_dot_product_attention", "softmax", "recorded", …"""
    heads: tuple[int, ...]
    """Indices, in the model's numbering, of the heads sent."""
    weights: ArrayBlock | None = None
    """[heads, queries, keys]"""
    query: ArrayBlock | None = None
    """[heads, queries, width]"""
    key: ArrayBlock | None = None
    """[key heads, keys, width]; a key head serves heads // key heads query heads in turn."""
    bias: ArrayBlock | None = None
    """Broadcastable to [heads, queries, keys]. bool: True may be attended; float: is added."""
    sinks: ArrayBlock | None = None
    """[heads] A logit for each head that takes part in the softmax, but belongs to no key."""
    scale: float = 1.0
    causal: bool = False
    """Whether query i may attend to the keys 0 … i only."""
    softcap: float = 0.0
    """The logits become softcap · tanh(logits / softcap); 0 leaves them as they are."""
    note: str = ""
    """Why the weights are not exact, or not the whole map; empty when they are both."""
    earlier: int = 0
    """Keys before the first query's own position: of a prefix, or a cache."""
    largest_logits: ArrayBlock | None = None
    """[heads] The largest logit of each head, where the weights are sent and were seen to come of a
    softmax."""
    error: float | None = None
    """‖weights · value − output‖ / ‖output‖ against the layer's own output, where measured."""
    drawn: bool = True
    """Whether pictures of it are asked for; otherwise only its numbers and its maps."""
    summary: LayerSummary | None = None
    """What a device has made of it, in place of query and key; beside them where the renderer is to
    find whether it makes the same of these."""

    def __post_init__(self) -> None:
        require(self.layer >= 0, "layer", self.layer)
        exact = (self.weights is None, self.query is None, self.key is None)
        allowed = {(False, True, True), (True, False, False)}
        if self.summary is not None:
            allowed = {(True, False, False), (True, True, True)}
            require(self.summary.shape == self.shape, "summary", self.summary.shape)
        require(exact in allowed, "weights or query, key", exact)
        for name, dimensions in (("weights", 3), ("query", 3), ("key", 3), ("sinks", 1)):
            block: ArrayBlock | None = getattr(self, name)
            if block is not None:
                require(len(block.shape) == dimensions, name, block.shape)
        self._require_shapes_that_fit()

    def _require_shapes_that_fit(self) -> None:
        heads, _, _ = self.shape
        require(heads == len(self.heads), "heads", self.heads)
        if self.query is not None and self.key is not None:
            require(self.query.shape[2] == self.key.shape[2], "width", self.key.shape)
            key_heads = self.key.shape[0]
            require(key_heads > 0 and heads % key_heads == 0, "key heads", self.key.shape)
        for name in ("sinks", "largest_logits"):
            block: ArrayBlock | None = getattr(self, name)
            require(block is None or block.shape == (heads,), name, block)
        if self.bias is not None:
            require(len(self.bias.shape) <= 3, "bias", self.bias.shape)
            pairs = zip(reversed(self.bias.shape), reversed(self.shape), strict=False)
            require(all(given in (1, full) for given, full in pairs), "bias", self.bias.shape)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(heads, queries, keys)"""
        if self.weights is not None:
            heads, queries, keys = self.weights.shape
            return heads, queries, keys
        if self.query is None and self.summary is not None:
            return self.summary.shape
        assert self.query is not None
        assert self.key is not None
        return self.query.shape[0], self.query.shape[1], self.key.shape[1]

    @property
    def is_summarised(self) -> bool:
        """Whether it was sent by its summary alone, so that there are no single weights."""
        return self.summary is not None and self.query is None

    @property
    def blocks(self) -> tuple[ArrayBlock, ...]:
        """All arrays that were sent."""
        given = (self.weights, self.query, self.key, self.bias, self.sinks, self.largest_logits)
        summed = () if self.summary is None else self.summary.blocks
        return (*(block for block in given if block is not None), *summed)


@dataclass(frozen=True, slots=True)
class PatchedLayer:
    """A layer whose positions are the patches of the sample's image, row by row."""

    stack: Stack
    layer: int
    type: AttentionType
    rows: int
    columns: int
    earlier: int = 0
    """Positions before the first patch: those of the class token and of registers."""
    has_class: bool = False
    """Whether the first of these is the class token's."""
    remark: str = ""
    """What of this is assumed; empty where the model tells it."""

    def __post_init__(self) -> None:
        require(self.layer >= 0, "layer", self.layer)
        require(0 < self.rows <= LONGEST_SIDE, "rows", self.rows)
        require(0 < self.columns <= LONGEST_SIDE, "columns", self.columns)
        require(int(self.has_class) <= self.earlier <= LONGEST_SIDE, "earlier", self.earlier)


@dataclass(frozen=True, slots=True)
class SampleImage:
    """What a vision model saw of the captured sample, made small, and how it is cut."""

    pixels: ArrayBlock
    """uint8 [rows, columns, 3] Red, green and blue."""
    is_stretched: bool
    """Whether the values were no colours, but were stretched from the smallest to the largest."""
    layers: tuple[PatchedLayer, ...]

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        require(len(shape) == 3 and shape[2] == 3 and 0 not in shape, "pixels", shape)
        require(self.pixels.dtype == "uint8", "pixels", self.pixels.dtype)
        require(max(shape) <= LONGEST_IMAGE_SIDE, "pixels", shape)

    def patches_of(self, attention: Attention) -> PatchedLayer | None:
        """Return how a layer sees the image; None if its positions are no patches of it."""
        named = (attention.stack, attention.layer, attention.type)
        return next((p for p in self.layers if (p.stack, p.layer, p.type) == named), None)


@dataclass(slots=True)
class Accounts:
    """What the training process has counted so far. Rides on every message it sends.

    Not frozen: the training process counts in a subclass of it, and sends copies.
    """

    captured: int = 0
    """Captures that were due and looked at, whatever became of them."""
    dropped: int = 0
    """Captures for which there was no room in the ring."""
    failed: int = 0
    """Captures that failed before they were announced; the renderer adds its own."""
    error: str = ""
    """The latest of these failures, in words."""
    hook_seconds: float = 0.0
    """Time spent inside attnmon's calls, in the training process."""
    steps: int = 0
    """Calls of `log_attention`, due or not."""
    last_step: int | None = None
    interval: int = 0
    """Steps from one due step to the next at present."""
    stretched: int = 0
    """How often the interval was made longer, to keep to `max_overhead`."""
    overhead: float = 0.0
    """The share of training time that due captures took since the first one."""
    backlog: int = 0
    """Captures announced before and not drawn yet."""
    retained_seconds: float = 0.0
    """The part of `hook_seconds` that `keep_last` took."""
    not_retained: int = 0
    """Steps that `keep_last` could not retain."""
    competed_seconds: float = 0.0
    """Processor time that the renderer has taken from the training, where no core was free."""

    def __post_init__(self) -> None:
        require(len(self.error) <= LONGEST_ERROR, "error", self.error)

    def figures(self, rendered: int, failed_in_renderer: int) -> dict[str, Any]:
        """Return the figures that `close()` and `summary.json` show, by their public names.

        The arguments are what the renderer has counted: captures drawn, and those that failed
        after they were announced.
        """
        return {
            "captured": self.captured,
            "rendered": rendered,
            "dropped": self.dropped,
            "failed": self.failed + failed_in_renderer,
            "hook_seconds": self.hook_seconds,
            "competed_seconds": self.competed_seconds,
            "overhead": self.overhead,
            "interval": self.interval,
            "stretched": self.stretched,
            "steps": self.steps,
            "last_step": self.last_step,
        }


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """What is drawn and written for each capture, and how."""

    pictures: tuple[str, ...]
    """Kinds of pictures, such as "heatmap"; an empty tuple draws none."""
    heads: str | tuple[int, ...] = "average"
    """ "average", "all", or the indices of the heads that were chosen."""
    statistics_files: bool = True
    """Write a `statistics.json` for each capture."""
    raw_weights: bool = False
    """Write all weights of each capture, unpooled."""
    tensorboard: bool = True
    statistics_queries: int | None = None
    """The most query rows that statistics without maps are computed from; None is all rows."""
    pooling: Literal["mass", "max"] = "mass"
    image_format: Literal["png", "svg", "pdf"] = "png"
    color_top: float | None = None
    """The weight at which every picture's colour scale ends; None chooses a round number for
    each picture."""
    pack: bool = False
    """Write all pictures of a step, and its statistics, as one zip file."""
    maps: Literal["drawn", "all"] | None = None
    """The layers whose maps are stored: those that are drawn, or all; None stores none."""
    maps_side: int = 128
    """The most cells a side of a map that is stored."""

    def __post_init__(self) -> None:
        require(self.color_top is None or self.color_top > 0, "color_top", self.color_top)
        require(0 < self.maps_side <= MOST_MAP_SIDE, "maps_side", self.maps_side)


@dataclass(frozen=True, slots=True)
class ChosenRule:
    """A rule that judges the captures, by its name, and the settings that were given to it."""

    name: str
    settings: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Notification:
    """Whom to tell of alerts. The address is a secret: it is not to be written or shown."""

    address: str = field(default="", repr=False)
    """Empty where nobody is to be told."""
    level: Severity = "warn"
    """The least serious alert that is told."""
    pictures: bool = False
    """Whether the picture that an alert names goes along."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How the training was started, for `run.json`."""

    command: tuple[str, ...] = ()
    """The command line, without secrets."""
    directory: str = ""
    """The working directory."""
    config: str = ""
    """The user's configuration as JSON, without secrets; empty where none was given."""
    probe: str | None = None
    """Fingerprint of the user's probe batch; "" where it has none, None where there is no batch."""


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """Which part of a model that is split over processes this one holds: (index, size) each."""

    pipeline: tuple[int, int]
    tensor: tuple[int, int]

    def __post_init__(self) -> None:
        for at, size in (self.pipeline, self.tensor):
            require(0 <= at < size, "coordinates", (at, size))


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where a run's directory is uploaded to."""

    url: str
    """Of the run itself, such as "s3://bucket/runs/7"."""
    grace: float
    """Seconds that the upload goes on after the end of the run, at most."""

    def __post_init__(self) -> None:
        require("://" in self.url, "mirror", self.url)
        require(0 <= self.grace < math.inf, "mirror_grace", self.grace)


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message: describes the run, its ring and its options to the renderer."""

    save_dir: str
    options: RenderOptions
    ring_bytes: int
    slot_bytes: int
    trainer_pid: int
    workers: int = 1
    """The most drawing processes at a time."""
    rank: int = 0
    world_size: int = 1
    """Training processes in the job; 1 when this process trains alone."""
    versions: tuple[tuple[str, str], ...] = ()
    """(package, version) of the training process."""
    keep_last: int = 0
    """The user's `keep_last`: how many undrawn steps to retain. 0 retains none."""
    disk_budget: int | None = None
    """The most bytes that the run's directory may hold; None sets no limit."""
    cpus: tuple[int, ...] = ()
    """Processors that the renderer may run on; an empty tuple allows all."""
    started: float = 0.0
    """When the monitor was created, in seconds since 1970."""
    ring_kind: str = ""
    """What memory the ring is: "shared memory", "memory file" or "file"."""
    turn: int = 1
    """With which number the renderer waits for its turn in the directory: see `directory_lock`."""
    launch: Launch = Launch()
    may_hold_run: bool = False
    """Whether the directory may hold an earlier run, which this training goes on with or not."""
    model_place: ModelPlace | None = None
    """Of a process that is watched with the others of its replica; None for any other."""
    mirror: Mirror | None = None
    """Where the run's directory is uploaded to; None is nowhere."""
    alerts: tuple[ChosenRule, ...] = ()
    """The rules that judge the captures."""
    notification: Notification = Notification()
    mode: int = 0o700
    """Of the folders that the renderer makes; of files, without the right to execute."""

    def __post_init__(self) -> None:
        require(self.turn >= 1, "turn", self.turn)
        require(self.mode & ~0o2075 == 0o700, "mode", self.mode)
        require(self.disk_budget is None or self.disk_budget > 0, "disk_budget", self.disk_budget)
        require(self.workers >= 1, "workers", self.workers)
        require(all(0 <= cpu < MOST_CPUS for cpu in self.cpus), "cpus", self.cpus)
        require(0 <= self.rank < self.world_size, "rank", (self.rank, self.world_size))
        require(0 < self.slot_bytes <= self.ring_bytes, "slot_bytes", self.slot_bytes)


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
class Remarks:
    """What the training process has told its user so far; sent when there is more."""

    off: str = ""
    """Why the monitor is off; empty while it is on."""
    not_seen: tuple[str, ...] = ()
    """A line for each module whose attention is not captured although it seems to attend."""
    warnings: tuple[str, ...] = ()
    """The first warnings, one of each kind."""

    def __post_init__(self) -> None:
        require(len(self.not_seen) <= MOST_REMARKS, "not_seen", len(self.not_seen))
        require(len(self.warnings) <= MOST_REMARKS, "warnings", len(self.warnings))
        for text in (self.off, *self.not_seen, *self.warnings):
            require(len(text) <= LONGEST_ERROR, "remark", text)

    def figures(self) -> dict[str, Any]:
        """Return what `close()` and `summary.json` show, by its public names."""
        return {
            "off": self.off or None,
            "not_seen": list(self.not_seen),
            "warnings": list(self.warnings),
        }


NO_REMARKS = Remarks()


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

__all__ = [
    "NO_REMARKS",
    "Accounts",
    "Acknowledgement",
    "ArrayBlock",
    "Attention",
    "AttentionType",
    "Capture",
    "ChosenRule",
    "Dump",
    "Goodbye",
    "Launch",
    "LayerSummary",
    "Message",
    "MessageError",
    "Notification",
    "PatchedLayer",
    "Refusal",
    "Release",
    "Remarks",
    "RenderOptions",
    "SampleImage",
    "SeenIn",
    "Setup",
    "Slots",
    "Stack",
    "SummarisedHeads",
    "decode",
    "encode",
]
