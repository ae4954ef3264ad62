"""A channel between two processes: messages of bytes, and file descriptors with them.

A `SOCK_SEQPACKET` socket keeps the boundaries of messages and tells when the other side is gone.
Where the system has none (macOS), a stream with a length before each message does the same; only
this module knows. A message that is longer than a packet travels in a file without a name.
"""

import array
import errno
import math
import select
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

from attnmon.link import descriptors as files
from attnmon.link.records.schema import LIMIT

PACKET_BYTES = 64 * 1024
"""The most bytes of one packet: the system bounds them, some systems at little more."""
_IN_A_FILE = b"\xc1"
"""The packet that comes with a file: a byte with which no message begins."""
_SEND_BUFFER = 1 << 20
_FLAGS = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)  # a script may have SIGPIPE kill
_ANCILLARY_BYTES = socket.CMSG_SPACE(4 * array.array("i").itemsize)
_BUSY = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS)
_HEADER = struct.Struct("!IB")
"""In a stream, before each message: its length, and the number of its descriptors."""


CLOSED_BY_OTHERS = (
    "this program has closed attnmon's file descriptors, as os.closerange does; make the monitor "
    "after that"
)


class ChannelClosed(ConnectionError):
    """The other side is gone: nothing more can be sent or received."""


class Packet(NamedTuple):
    """A received message's bytes, still unchecked, and its descriptors, which the receiver owns."""

    data: bytes
    descriptors: tuple[int, ...] = ()


class Channel:
    """One end of a channel. Neither `send` nor `receive` ever waits; `wait` does."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._own = files.OwnDescriptor(end.fileno())
        self._was_taken = False
        self._stream = end.type == socket.SOCK_STREAM
        self._incoming = b""
        self._arrived: tuple[int, ...] = ()
        self._outgoing = b""
        self._buffer = memoryview(bytearray(PACKET_BYTES + 1))
        # `select.select` takes descriptors below 1024 only, and epoll needs one of its own.
        self._poller = select.poll()
        self._poller.register(end, select.POLLIN)
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    @classmethod
    def pair(cls) -> tuple["Channel", "Channel"]:
        """Return the two ends of a new channel. Raises OSError."""
        kind = getattr(socket, "SOCK_SEQPACKET", socket.SOCK_STREAM)
        try:
            ends = socket.socketpair(socket.AF_UNIX, kind)
        except OSError:
            ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            return cls(ends[0]), cls(ends[1])
        except OSError:
            for end in ends:
                end.close()
            raise

    @classmethod
    def from_descriptor(cls, descriptor: int) -> "Channel":
        """Return the end that this descriptor of a socket stands for; it owns the descriptor."""
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def was_taken(self) -> bool:
        """Whether others in this process have closed its descriptor before we did."""
        if self._socket.fileno() >= 0 and not self._own.is_ours():
            self._socket.detach()  # or it would close what has the descriptor's number now
            self._was_taken = True
        return self._was_taken

    def close(self) -> None:
        if not self.was_taken:
            self._socket.close()

    def end_sending(self) -> None:
        """Let the other side see the end, while this side goes on receiving."""
        try:
            self._require_own()
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other side is gone already

    def send(self, data: bytes, descriptors: Sequence[int] = ()) -> bool:
        """Send one message; return whether it was sent, or the other side has no room for it.

        The other side gets copies of the descriptors; these stay open. Raises `ChannelClosed`, and
        OSError where there is no memory for a message that needs a file.
        """
        if len(data) <= PACKET_BYTES:
            return self._send_packet(data, descriptors)
        file = files.make_nameless_file(lambda file: file.write(data))
        try:
            return self._send_packet(_IN_A_FILE, [file, *descriptors])
        finally:
            files.close(file)

    def receive(self) -> Packet | None:
        """Return the next message, or None when there is none yet. Raises `ChannelClosed`."""
        if not (self._incoming or self._poller.poll(0)):
            return None  # as a rule; to be told so by an error would take three times as long
        packet = self._receive_from_stream() if self._stream else self._receive_packet()
        if packet is None or packet.data != _IN_A_FILE or not packet.descriptors:
            return packet
        file, *others = packet.descriptors
        try:
            return Packet(files.read_regular(file, LIMIT), tuple(others))
        finally:
            files.close(file)

    def _send_packet(self, data: bytes, descriptors: Sequence[int]) -> bool:
        if self._stream:
            return self._send_in_stream(data, descriptors)
        return self._transmit(data, descriptors) > 0

    def wait(self, seconds: float | None = None) -> None:
        """Wait until there is something to receive, the other side is gone, or the time is up."""
        if not self.was_taken:
            self._poller.poll(None if seconds is None else math.ceil(max(seconds, 0) * 1000))

    def _transmit(self, data: bytes, descriptors: Sequence[int]) -> int:
        ancillary = []
        self._require_own()
        if descriptors:
            rights = array.array("i", descriptors)
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
        try:
            if ancillary:
                return self._socket.sendmsg([data], ancillary, _FLAGS)
            return self._socket.send(data, _FLAGS)
        except OSError as error:
            if error.errno in _BUSY:
                return 0
            raise ChannelClosed(str(error)) from error

    def _receive_packet(self) -> Packet | None:
        self._require_own()
        for _ in range(2):
            try:
                size, ancillary, _, _ = self._socket.recvmsg_into(
                    [self._buffer], _ANCILLARY_BYTES, socket.MSG_DONTWAIT
                )
            except ConnectionResetError:
                continue  # reported once, ahead of the messages that are still queued
            except OSError as error:
                if error.errno in _BUSY:
                    return None
                raise ChannelClosed(str(error)) from error
            if not size:
                break
            return Packet(bytes(self._buffer[:size]), _descriptors_in(ancillary))
        raise ChannelClosed("the other side has closed")

    def _require_own(self) -> None:
        """Raise `ChannelClosed` if the descriptor is not ours any more."""
        if self.was_taken:
            raise ChannelClosed(CLOSED_BY_OTHERS)

    def _send_in_stream(self, data: bytes, descriptors: Sequence[int]) -> bool:
        if self._outgoing:
            self._outgoing = self._outgoing[self._transmit(self._outgoing, ()) :]
            if self._outgoing:
                return False
        framed = _HEADER.pack(len(data), len(descriptors)) + data
        sent = self._transmit(framed, descriptors)
        if sent:
            self._outgoing = framed[sent:]
        return sent > 0

    def _receive_from_stream(self) -> Packet | None:
        while (packet := self._first_in_stream()) is None:
            part = self._receive_packet()
            if part is None:
                return None
            self._incoming += part.data
            self._arrived += part.descriptors
        return packet

    def _first_in_stream(self) -> Packet | None:
        if len(self._incoming) < _HEADER.size:
            return None
        length, count = _HEADER.unpack_from(self._incoming)
        end = _HEADER.size + length
        if length > PACKET_BYTES:
            raise ChannelClosed(f"{length} bytes were announced; {PACKET_BYTES} is the most")
        if len(self._incoming) < end:
            return None
        data, self._incoming = self._incoming[_HEADER.size : end], self._incoming[end:]
        descriptors, self._arrived = self._arrived[:count], self._arrived[count:]
        return Packet(data, descriptors)


def _descriptors_in(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, ...]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return tuple(found)
