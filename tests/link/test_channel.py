"""The channel: whole messages or none, never a wait, and the end of the other side is seen."""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from attnmon.link.channel import PACKET_BYTES, Channel, ChannelClosed
from attnmon.link.records.schema import LIMIT

KINDS = {"packets": socket.SOCK_SEQPACKET, "stream": socket.SOCK_STREAM}


@pytest.fixture(params=KINDS)
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[Channel, Channel]]:
    one, other = socket.socketpair(socket.AF_UNIX, KINDS[request.param])
    ends = Channel(one), Channel(other)
    yield ends
    for end in ends:
        end.close()


def drain(channel: Channel) -> list[bytes]:
    messages = []
    while (packet := channel.receive()) is not None:
        messages.append(packet.data)
    return messages


def test_messages_arrive_whole_and_in_order(ends: tuple[Channel, Channel]) -> None:
    sent = [bytes([n]) * size for n, size in enumerate((1, 100, PACKET_BYTES, LIMIT, 7))]
    for message in sent:
        assert ends[0].send(message)
    received = []
    while len(received) < len(sent):
        select.select([ends[1]], [], [], 5)
        received += drain(ends[1])
        ends[0].send(b"")  # a stream sends on what it could not send at once
    assert [message for message in received if message] == sent


def test_nothing_to_read_is_none(ends: tuple[Channel, Channel]) -> None:
    assert ends[0].receive() is None


def test_a_full_channel_refuses_without_waiting_and_loses_nothing(
    ends: tuple[Channel, Channel],
) -> None:
    accepted = []
    for number in range(100_000):
        message = number.to_bytes(4, "big") * 64
        if not ends[0].send(message):
            break
        accepted.append(message)
    else:
        pytest.fail("the channel never filled up")
    received = drain(ends[1])
    assert ends[0].send(b"again")
    received += drain(ends[1])
    assert received == [*accepted, b"again"]


def test_a_descriptor_travels_with_a_message(ends: tuple[Channel, Channel]) -> None:
    reading, writing = os.pipe()
    assert ends[0].send(b"take this", [writing])
    os.close(writing)
    packet = ends[1].receive()
    assert packet is not None
    assert packet.data == b"take this"
    (arrived,) = packet.descriptors
    os.write(arrived, b"x")
    assert os.read(reading, 1) == b"x"
    os.close(arrived)
    os.close(reading)


def test_a_long_message_travels_with_its_descriptors_and_leaves_none_open(
    ends: tuple[Channel, Channel],
) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with open(os.devnull, "rb") as other:
        assert ends[0].send(b"x" * LIMIT, [other.fileno()])
    packet = ends[1].receive()
    assert packet is not None
    assert packet.data == b"x" * LIMIT
    (arrived,) = packet.descriptors
    assert os.path.samestat(os.fstat(arrived), os.stat(os.devnull))
    os.close(arrived)
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_file_that_is_no_message_is_read_as_an_empty_one(
    ends: tuple[Channel, Channel], tmp_path: Path
) -> None:
    """A pipe would be waited for, and a file of any size would fill the memory."""
    huge = tmp_path / "huge"
    huge.touch()
    os.truncate(huge, 1 << 40)
    pipe, writing = os.pipe()
    for file in (os.open(huge, os.O_RDONLY), os.open(tmp_path, os.O_RDONLY), pipe, writing):
        assert ends[0].send(b"\xc1", [file])
        os.close(file)
        packet = ends[1].receive()
        assert packet is not None
        assert (packet.data, packet.descriptors) == (b"", ())


def test_what_was_sent_is_read_before_the_end_is_seen(ends: tuple[Channel, Channel]) -> None:
    ends[0].send(b"last words")
    ends[0].close()
    assert drain_to_the_end(ends[1]) == [b"last words"]


def test_unread_messages_of_a_side_that_died_do_not_hide_its_own(
    ends: tuple[Channel, Channel],
) -> None:
    """A reset connection is reported before the messages that are still queued."""
    ends[1].send(b"never read")
    ends[0].send(b"announced")
    ends[0].close()
    assert drain_to_the_end(ends[1]) == [b"announced"]


def drain_to_the_end(channel: Channel) -> list[bytes]:
    messages = []
    for _ in range(10):
        try:
            packet = channel.receive()
        except ChannelClosed:
            return messages
        if packet is not None:
            messages.append(packet.data)
    return pytest.fail(f"the end was not seen after {messages}")


def test_sending_to_a_dead_side_raises(ends: tuple[Channel, Channel]) -> None:
    ends[1].close()
    with pytest.raises(ChannelClosed):
        ends[0].send(b"anybody?")


def test_one_side_can_end_its_sending_and_still_receive(ends: tuple[Channel, Channel]) -> None:
    ends[0].send(b"goodbye")
    ends[0].end_sending()
    assert drain_to_the_end(ends[1]) == [b"goodbye"]
    assert ends[1].send(b"the rest")
    packet = ends[0].receive()
    assert packet is not None
    assert packet.data == b"the rest"


def test_a_dead_side_kills_no_script_that_lets_sigpipe_kill() -> None:
    code = (
        "import signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
        "from attnmon.link.channel import Channel, ChannelClosed\n"
        "ours, theirs = Channel.pair(); theirs.close()\n"
        "try: ours.send(b'x')\n"
        "except ChannelClosed: print('alive')\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (out.returncode, out.stdout) == (0, "alive\n"), signal.Signals(-out.returncode)


def test_a_stream_that_announces_too_much_is_closed() -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    channel = Channel(other)
    one.sendall((PACKET_BYTES + 1).to_bytes(4, "big") + b"\0")
    with pytest.raises(ChannelClosed, match="were announced"):
        channel.receive()
    one.close()
    channel.close()
