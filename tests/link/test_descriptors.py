"""Descriptors that others in the process may close, and whose numbers they may get."""

import os
import socket
from pathlib import Path

import pytest

from attnmon.link import ring as ring_module
from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.descriptors import OwnDescriptor
from attnmon.link.ring import make_ring


def taken(number: int, path: Path) -> int:
    """As if the program had closed the descriptor, and its next file had got the number."""
    os.close(number)
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    if file != number:
        os.dup2(file, number)
        os.close(file)
    return number


def test_what_has_the_number_of_a_closed_descriptor_is_not_closed(tmp_path: Path) -> None:
    ours = OwnDescriptor(os.open(tmp_path, os.O_RDONLY))
    assert ours.is_ours()
    theirs = taken(ours.number, tmp_path / "file")
    assert not ours.is_ours()
    assert not ours.close()
    os.close(theirs)  # it is open


def test_one_is_closed_once(tmp_path: Path) -> None:
    ours = OwnDescriptor(os.open(tmp_path, os.O_RDONLY))
    number = ours.number
    assert ours.close()
    assert ours.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(number)


def test_a_channel_reads_and_writes_nothing_of_others() -> None:
    ours, other = Channel.pair()
    number = ours.fileno()
    os.close(number)
    left, right = socket.socketpair()
    assert left.fileno() == number, "the lowest that is free"
    right.send(b"theirs")
    for call in (ours.receive, lambda: ours.send(b"ours")):
        with pytest.raises(ChannelClosed, match="closerange"):
            call()
    ours.wait(0)
    ours.end_sending()
    ours.close()
    assert ours.was_taken
    assert os.read(number, 10) == b"theirs"
    right.setblocking(False)
    with pytest.raises(BlockingIOError):
        right.recv(10)
    for end in (left, right):
        end.close()
    other.close()


def test_a_ring_neither_grows_nor_closes_the_file_of_others(tmp_path: Path) -> None:
    ring = make_ring(1 << 20, 1 << 24)
    theirs = taken(ring.descriptor, tmp_path / "file")
    before = ring.reserved
    ring.grow(1 << 23)
    ring.close_descriptor()
    assert ring.reserved == before
    assert os.fstat(theirs).st_size == 0
    ring.memory[:4] = b"fine"
    assert ring_module._never_unmapped.pop() is ring.memory
    os.close(theirs)
