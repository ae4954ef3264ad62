"""Where the leading dimensions of attention tensors hold samples, heads and windows.

Read from the labels of a layer's scores when the layer is first seen, and used as long as the layer
makes the same calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
import torch
from torch import Tensor

from attnmon.capture.lineage.element_labels import UNKNOWN, Label, Labels, projection_of
from attnmon.capture.lineage.moves import Moves

_OF_OTHERS = "its queries attend to keys of other samples: it is no map of one sample"
_IN_ONE_MAP = (
    "one map seems to hold several places of the inputs' dimension {}: samples that are packed or "
    "attend to each other, one sample without a batch, or learned tokens that were taken from the "
    "rows of other samples. Which are of one is not known"
)
_IN_NO_ORDER = "queries of several samples or heads stand in one map, in no known order"
_SEPARATE_INPUTS = "its samples are separate inputs of the model"


class RefusedLayout(Exception):
    """Attention that is no map of one sample's positions. The message says why."""


class StaleLayout(Exception):
    """Tensors that do not fit a layout of an earlier forward any more."""


@dataclass(frozen=True, slots=True)
class RowSplit:
    """Samples or heads that stand in the row dimension: [count · queries], or queries first."""

    count: int
    is_outer: bool
    """Whether `count` comes before the queries."""
    is_sample: bool
    """Whether `count` is that of the samples, which may differ next time."""

    def apply(self, tensor: Tensor, samples: int) -> Tensor:
        """Return the tensor with `count` as its last leading dimension. Raises `StaleLayout`."""
        count = samples if self.is_sample else self.count
        if not count or tensor.shape[-2] % count:
            raise StaleLayout
        *lead, rows, width = tensor.shape
        if self.is_outer:
            return tensor.reshape(*lead, count, rows // count, width)
        return tensor.reshape(*lead, rows // count, count, width).movedim(-2, -3)


@dataclass(frozen=True, slots=True)
class Layout:
    """The order of samples, heads and windows in the leading dimensions of one layer's tensors.

    Flattened, they are [outer, samples, inner]; each head has its place in the other two.
    """

    samples: int
    """Number of samples; 0 for as many as the tensors hold."""
    outer: int
    inner: int
    places: tuple[tuple[int, int], ...]
    """For each head, its index in `outer` and in `inner`: of its first window."""
    order: tuple[tuple[int, ...], ...] = ()
    """For each sample, the place of each head among all, where that is not regular; else empty."""
    windows: int = 1
    """Number of maps that each head has of one sample; the first is taken."""
    row_splits: tuple[RowSplit, ...] = ()
    batch_dim: int | None = 0
    """Dimension of the model's inputs that holds the samples; None if there is none."""
    divides: tuple[bool, bool] = (False, False)
    """Whether maps of different places in the inputs' first, second dimension are separate ones."""
    is_reordered: bool = False
    """Whether data decided the order of the samples, so that it may be another next time."""
    has_earlier_keys: bool = False
    """Whether the first keys stand before the queries' own: a prefix, or a cache."""
    note: str = ""
    """What was assumed, or left out; empty if nothing."""
    moves: Moves = ()
    """How the tensors came into this order, as far as that is known (`moves_of`)."""
    is_plain: bool = field(init=False)
    """Whether the leading dimensions are [samples, heads] as they are, or merged."""

    @property
    def heads(self) -> int:
        """Number of heads."""
        return len(self.places)

    def __post_init__(self) -> None:
        in_order = self.places == tuple((0, head) for head in range(self.inner))
        is_plain = in_order and self.outer == 1 and not self.row_splits and not self.order
        object.__setattr__(self, "is_plain", is_plain)  # asked at each call of each layer

    def is_like(self, other: "Layout") -> bool:
        """Return whether the other has its samples and heads in the same order, as far as known.

        Another number of windows is no other order.
        """
        if self.windows != other.windows:
            return True
        mine, theirs = (
            (each.outer, each.inner, each.places, each.order, each.row_splits)
            for each in (self, other)
        )
        return mine == theirs

    def require_moves(self, moves: Moves) -> None:
        """Raise `StaleLayout` where tensors were moved otherwise than when this was established."""
        if self.moves and moves and moves != self.moves:
            raise StaleLayout

    def arrange_keys(self, tensor: Tensor) -> Tensor:
        """Return [samples, heads, keys, any] of keys [*leading, keys, any] beside split rows.

        All samples or heads in the rows of a query attend to the same keys. Raises `StaleLayout`.
        """
        for split in self.row_splits:
            count = self.samples if split.is_sample else split.count
            tensor = tensor.unsqueeze(-3).expand(*tensor.shape[:-2], count, *tensor.shape[-2:])
        return self._placed(tensor)

    def arrange(self, tensor: Tensor) -> Tensor:
        """Return [samples, heads, positions, any] of a tensor [*leading, positions, any].

        A view wherever its strides allow. Raises `StaleLayout` for a tensor that does not fit.
        """
        for split in self.row_splits:
            tensor = split.apply(tensor, self.samples)
        return self._placed(tensor)

    def _index(self, samples: int) -> np.ndarray:
        """Return the place of each sample's heads among all of the leading dimensions."""
        if self.order:
            if len(self.order) != samples:
                raise StaleLayout
            return np.array(self.order)
        starts = np.array([o * samples * self.inner + i for o, i in self.places])
        index: np.ndarray = np.arange(samples)[:, None] * self.inner + starts
        return index

    def _placed(self, tensor: Tensor) -> Tensor:
        lead = tensor.shape[:-2]
        samples = self.samples or prod(lead) // (self.outer * self.inner)
        if prod(lead) != self.outer * samples * self.inner:
            raise StaleLayout
        if self.is_plain and lead == (samples, self.heads):
            return tensor
        index = self._index(samples)
        return _taken(tensor, np.unravel_index(index, lead) if lead else ())


def join_notes(*notes: str) -> str:
    """Return notes as one, without the empty ones."""
    return "; ".join(filter(None, notes))


def _taken(tensor: Tensor, index: Sequence[np.ndarray]) -> Tensor:
    """Return the slices at an index [samples, heads] of each leading dimension."""
    strides = tensor.stride()[:-2]
    places = sum((i * s for i, s in zip(index, strides, strict=True)), np.zeros((1, 1), np.int64))
    sample = int(places[1, 0] - places[0, 0]) if len(places) > 1 else 0
    head = int(places[0, 1] - places[0, 0]) if places.shape[1] > 1 else 0
    rows, columns = np.indices(places.shape)
    size = (*places.shape, *tensor.shape[-2:])
    if (
        np.array_equal(places, places[0, 0] + rows * sample + columns * head)
        and min(sample, head) >= 0
    ):
        start = tensor.storage_offset() + int(places[0, 0])
        return tensor.as_strided(size, (sample, head, *tensor.stride()[-2:]), start)
    return tensor[tuple(torch.from_numpy(i).to(tensor.device) for i in index)]


def establish(labels: Labels, batch_dim: int | None, heads: int | None) -> Layout | None:
    """Return the layout of scores with these labels, [*leading, queries, keys]; None if unknown.

    batch_dim: dimension of the model's inputs that is believed to hold the samples; another is
    taken where the labels say so. heads: the module's number of heads, where it tells.

    Raises `RefusedLayout`.
    """
    scores = labels.scores
    if scores is None:
        return None
    if scores.is_over_channels:
        raise RefusedLayout("its rows are channels and not positions: it is no map of tokens")
    if _are_inputs_apart(labels, batch_dim):
        return _by_inputs(labels, heads)
    dim = None if batch_dim is None else _batch_dim(labels, batch_dim)
    if dim is None and batch_dim is not None:
        return None
    if dim != 0 and _mixes_slices(labels):
        raise RefusedLayout(_OF_OTHERS)
    sample = torch.zeros((1,) * len(labels.shape), dtype=torch.int32)
    if dim is not None:
        found = (labels.first, labels.second)[dim]
        if found is None:
            return None
        sample = found
    return _laid_out(labels, sample, dim, heads)


def _are_inputs_apart(labels: Labels, batch_dim: int | None) -> bool:
    """Return whether the leading dimensions tell inputs apart, and no dimension tells samples."""
    scores, source = labels.scores, labels.source
    if scores is None or source is None or not scores.is_of_one_input:
        return False
    is_of_samples = batch_dim is not None and any(scores.is_of_one_sample)
    return not is_of_samples and source.numel() > 1 and source.shape[-2:] == (1, 1)


def _by_inputs(labels: Labels, heads: int | None) -> Layout | None:
    """Return the layout of scores whose samples are separate inputs; None if unknown."""
    assert labels.source is not None
    numbers = torch.unique(labels.source, return_inverse=True)[1].int()
    found = None if (labels.source == UNKNOWN).any() else _laid_out(labels, numbers, None, heads)
    is_unknown = labels.first is None and labels.second is None
    if found is None or (is_unknown and found.windows > 1):  # each may hold several samples
        return None
    return replace(found, samples=0, note=join_notes(found.note, _SEPARATE_INPUTS))


def _batch_dim(labels: Labels, believed: int) -> int | None:
    assert labels.scores is not None
    is_of_one_sample, other = labels.scores.is_of_one_sample, 1 - believed
    if is_of_one_sample[believed]:
        return believed
    if is_of_one_sample[other]:
        return other
    if is_of_one_sample[believed] is False:
        places = (labels.first, labels.second)[believed]
        is_in_one_map = places is not None and places.shape[-2] > 1
        raise RefusedLayout(_IN_ONE_MAP.format(believed) if is_in_one_map else _OF_OTHERS)
    return None


def _laid_out(labels: Labels, sample: Tensor, dim: int | None, heads: int | None) -> Layout | None:
    shape, feature, splits = list(labels.shape), labels.feature, []
    if sample.shape[-1] > 1:
        raise RefusedLayout("its keys are of several samples")
    for is_sample in (True, False):
        label = sample if is_sample else feature
        if label is None or label.shape[-2] == 1:
            continue
        if not is_sample and _has_several_projections(label):
            feature = _leading_heads(label, sample, shape)
            continue
        split = _row_split(label, is_sample)
        splits.append(split)
        count = split.count
        shape = [*shape[:-2], count, shape[-2] // count, shape[-1]]
        sample = split.apply(_rows(sample, shape), count).narrow(-2, 0, 1)
        feature = None if feature is None else _unsplit(split, feature, shape, is_sample)
    lead = shape[:-2]
    samples_of = sample.narrow(-1, 0, 1).expand(*lead, 1, 1).flatten().numpy()
    if (samples_of == UNKNOWN).any():
        return None
    heads_of, note = _heads_of(feature, lead, samples_of, heads)
    if heads_of is None:
        return None
    layout = _in_order(samples_of, heads_of)
    return replace(
        layout,
        row_splits=tuple(splits),
        batch_dim=dim,
        divides=(_divides(labels, 0), _divides(labels, 1)),
        is_reordered=labels.is_reordered or layout.is_reordered,
        has_earlier_keys=labels.scores is not None and labels.scores.has_earlier_keys,
        note=join_notes(_windows_note(layout), _variables_note(labels), _order_note(labels), note),
    )


def _windows_note(layout: Layout) -> str:
    is_first = layout.windows > 1
    return f"only the first of {layout.windows} windows of this sample" if is_first else ""


def _variables_note(labels: Labels) -> str:
    is_over_variables = labels.last is not None and labels.last.shape[-2] > 1
    return "its positions are the last dimension of the model's inputs" if is_over_variables else ""


def _order_note(labels: Labels) -> str:
    is_moved = labels.scores is not None and not labels.scores.is_in_order
    return "its positions stand in another order than in the inputs" if is_moved else ""


def _divides(labels: Labels, dim: int) -> bool:
    """Return whether the leading dimensions tell the places of an input's dimension apart."""
    label = (labels.first, labels.second)[dim]
    is_separate = labels.scores is not None and labels.scores.is_of_one_sample[dim]
    return bool(is_separate) and label is not None and label.numel() > 1


def _mixes_slices(labels: Labels) -> bool:
    """Return whether queries of one place in the first dimension meet keys of another, each so."""
    first, scores = labels.first, labels.scores
    if first is None or scores is None or scores.is_of_one_sample[0] is not False:
        return False
    return first.shape[-2] == 1 and first.numel() > 1


def _rows(label: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the label with all rows written out; shape: after the split."""
    rows = shape[-3] * shape[-2]
    return label.expand(*label.shape[:-2], rows, label.shape[-1])


def _has_several_projections(feature: Tensor) -> bool:
    """Return whether the rows are of several projections, as of image and text side by side."""
    projections = projection_of(feature)
    return not bool((projections == projections.narrow(-2, 0, 1)).all())


def _leading_heads(feature: Tensor, sample: Tensor, shape: Sequence[int]) -> Tensor:
    """Return numbers for the heads that the leading dimensions tell apart, in each row.

    Raises `RefusedLayout` where they do not.
    """
    numbers = feature[..., 0].reshape(-1, feature.shape[-2])
    ranks = numbers.argsort(stable=True, dim=0)
    if len(numbers) > 1 and bool((ranks == ranks[:, :1]).all()):
        return feature.narrow(-2, 0, 1)
    lead = [1 if of > 1 else size for of, size in zip(sample.shape, shape[:-2], strict=False)]
    if not _are_apart(feature.expand(*shape[:-1], 1), sample.expand(*shape[:-2], 1, 1), prod(lead)):
        raise RefusedLayout(_IN_NO_ORDER)
    return torch.arange(prod(lead)).view(*lead, 1, 1)


def _are_apart(feature: Tensor, sample: Tensor, heads: int) -> bool:
    """Return whether each row of a sample has so many features, all different: of experts."""
    rows, samples_of = feature.flatten(0, -3)[..., 0], sample.flatten()
    each = [rows[samples_of == number] for number in set(samples_of.tolist())]
    return all(
        len(numbers) == heads > 1 and bool((numbers.sort(0)[0].diff(dim=0) > 0).all())
        for numbers in each
    )


def _unsplit(split: RowSplit, feature: Tensor, shape: Sequence[int], is_sample: bool) -> Tensor:
    if feature.shape[-2] == 1:
        return feature.unsqueeze(-3)
    moved = split.apply(_rows(feature, shape), split.count)
    return moved if is_sample else moved.narrow(-2, 0, 1)


def _row_split(label: Tensor, is_sample: bool) -> RowSplit:
    """Return how the rows of a label are ordered. Raises `RefusedLayout` if that is not regular."""
    slices = label.reshape(-1, *label.shape[-2:])[..., 0].numpy()
    count = len(np.unique(slices[0]))
    queries = slices.shape[1] // count
    for is_outer in (True, False):
        order = (np.repeat if is_outer else np.tile)(np.arange(count), queries)
        if all(_is_in_order(rows, order) for rows in slices):
            return RowSplit(count, is_outer, is_sample)
    raise RefusedLayout(_IN_NO_ORDER)


def _is_in_order(rows: np.ndarray, order: np.ndarray) -> bool:
    distinct = np.unique(rows)
    return len(distinct) == order.max() + 1 and np.array_equal(rows, distinct[order])


def _heads_of(
    feature: Label, lead: Sequence[int], samples_of: np.ndarray, heads: int | None
) -> tuple[np.ndarray | None, str]:
    """Return a number for each slice, the same for one head, and what was assumed."""
    each = len(samples_of) // max(len(set(samples_of.tolist())), 1)
    if feature is not None:
        numbers = feature.narrow(-1, 0, 1).narrow(-2, 0, 1).expand(*lead, 1, 1).flatten().numpy()
        if not (numbers == UNKNOWN).any():
            return numbers, ""
    if each == 1:
        return np.zeros(len(samples_of), np.int32), ""
    if lead and heads in (lead[-1], each):
        count = lead[-1] if heads == lead[-1] else each
        in_order = np.arange(len(samples_of)) % count
        return in_order, ""
    if len(lead) > 1 and lead[-1] == each:
        return np.arange(
            len(samples_of)
        ) % each, f"taken for {each} heads: the module does not tell"
    return None, ""


def _in_order(samples_of: np.ndarray, heads_of: np.ndarray) -> Layout:
    """Return the layout of slices with these samples and heads. Raises `RefusedLayout`."""
    samples, heads = sorted(set(samples_of.tolist())), sorted(set(heads_of.tolist()))
    count, total = len(samples), len(samples_of)
    if samples != list(range(count)):
        raise RefusedLayout("it is computed for some of the samples only")
    windows, rest = divmod(total, count * len(heads))
    members = [[(samples_of == s) & (heads_of == h) for h in heads] for s in samples]
    if rest or any(int(mask.sum()) != windows for row in members for mask in row):
        raise RefusedLayout("its samples and heads are in an order that is not understood")
    index = np.array([[int(mask.argmax()) for mask in row] for row in members])
    inner = int(index[1, 0] - index[0, 0]) if count > 1 else total
    if inner > 0 and total % (count * inner) == 0:
        places = tuple(divmod(int(start), count * inner) for start in index[0])
        layout = Layout(count, total // (count * inner), inner, places, windows=windows)
        is_within = all(place < inner for _, place in places)
        if is_within and np.array_equal(index, layout._index(count)):
            return layout
    in_order = tuple((0, head) for head in range(len(heads)))
    order = tuple(map(tuple, index.tolist()))
    return Layout(count, 1, total // count, in_order, order, windows, is_reordered=True)
