"""Tries how much of a core is left over: a process at idle priority asks for a little.

The system's own figures would not do: in a container they are the whole machine's, and a limit of
its control group is not in them.
"""

import time

from attnmon.link.channel import Channel
from attnmon_renderer import process_messages
from attnmon_renderer.process_messages import LeftOver
from attnmon_renderer.supervision.scheduling import priority

ROUNDS = 16
PAUSE_SECONDS = 0.03
"""Between two rounds, so that they fall on different moments of a training step."""
WORK_SECONDS = 0.001
"""Processor time of a round."""


def run_probe(channel: Channel) -> None:
    """Send the share of a core that is left over; it may take long where none is."""
    priority.yield_to_training()
    channel.send(process_messages.encode(LeftOver(share_left_over())))


def share_left_over() -> float:
    """Return the processor time that this process gets, of the time in which it wants it."""
    wanted = got = 0.0
    for _ in range(ROUNDS):
        time.sleep(PAUSE_SECONDS)
        started, before = time.perf_counter(), time.thread_time()
        while time.thread_time() - before < WORK_SECONDS:
            pass
        got += time.thread_time() - before
        wanted += time.perf_counter() - started
    return got / wanted
