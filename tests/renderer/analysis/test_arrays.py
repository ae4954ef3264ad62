"""Arrays in a message's memory, and memory that is used again."""

import numpy as np
import pytest
import torch

from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon_renderer.analysis.arrays import Rows, ScratchBuffer, read_array, to_float32


def test_an_array_is_a_view_at_its_offset() -> None:
    memory = bytearray(4) + np.arange(6, dtype=np.float32).tobytes()
    found = read_array(ArrayBlock(4, "float32", (2, 3)), memoryview(memory))
    np.testing.assert_array_equal(found, [[0, 1, 2], [3, 4, 5]])
    assert np.shares_memory(found, np.frombuffer(memory, np.uint8))
    assert to_float32(found) is found


def test_bfloat16_becomes_the_float32_of_the_same_value() -> None:
    sent = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).bfloat16()
    memory = sent.view(torch.uint8).numpy().tobytes()
    found = to_float32(read_array(ArrayBlock(0, "bfloat16", (3, 5)), memory))
    np.testing.assert_array_equal(found, sent.float())


def test_memory_that_ends_too_early_is_refused_and_no_values_need_none() -> None:
    with pytest.raises(ValueError, match="ends at byte 24 of the ring, of which 20 are mapped"):
        read_array(ArrayBlock(0, "float32", (2, 3)), bytes(20))
    assert read_array(ArrayBlock(99, "float32", (0, 3)), b"").shape == (0, 3)


@pytest.mark.parametrize("indices", [[2, 3, 4], [0, 2, 5], [7]])
def test_rows_are_selected_by_a_slice_where_they_are_contiguous(indices: list[int]) -> None:
    rows = Rows(np.array(indices))
    np.testing.assert_array_equal(np.arange(9)[rows.selector], indices)
    contiguous = indices == list(range(indices[0], indices[-1] + 1))
    assert isinstance(rows.selector, slice) == contiguous
    assert len(rows) == len(indices)


def test_a_scratch_buffer_reuses_its_memory_until_more_is_needed() -> None:
    buffer = ScratchBuffer()
    large = buffer.array(2, 3)
    assert np.shares_memory(large, buffer.array(4))
    assert not np.shares_memory(large, buffer.array(7))
