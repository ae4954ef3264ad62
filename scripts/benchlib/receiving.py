"""The other end of `announcing.receiver`: a process of its own, which loads no torch."""

import select
import sys
import time

from attnmon.link import messages
from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import Capture


def receive(descriptor: int) -> None:
    """Acknowledge each record with its arrival time, until the other side is gone."""
    channel = Channel.from_descriptor(descriptor)
    try:
        while True:
            select.select([channel], [], [])
            packet = channel.receive()
            if packet is not None:
                arrived = time.monotonic()
                capture = messages.decode(packet.data)
                assert isinstance(capture, Capture)
                answer = messages.Acknowledgement(capture.sequence, str(arrived))
                channel.send(messages.encode(answer))
    except ChannelClosed:
        pass


if __name__ == "__main__":
    receive(int(sys.argv[1]))
