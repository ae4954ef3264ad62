"""A pool of child processes of one role, which are forked on demand and replaced when they die."""

import selectors
from collections import deque
from collections.abc import Callable

from attnmon.link.channel import Channel, ChannelClosed, Packet
from attnmon_renderer.supervision import child_process
from attnmon_renderer.supervision.child_process import Child

MOST_LOST_PIDS = 1000
MOST_DEATHS_IN_A_ROW = 5
"""After so many deaths without a finished task in between, a crash loop, no more are forked."""

OnPacket = Callable[[Child, Packet], None]
OnLoss = Callable[[Child | None, str], None]


class WorkerPool:
    """At most `size` children that run `run`, each at one task at a time.

    Args:
        keep_open: descriptors that the children need.
        selector: watches the children's channels; its callbacks are called by its owner.
        on_packet: called with each packet that a child sends.
        on_loss: called with a child that has ended, and how; with None when a fork has failed.
    """

    def __init__(
        self,
        role: str,
        size: int,
        run: Callable[[Channel], None],
        keep_open: set[int],
        selector: selectors.BaseSelector,
        on_packet: OnPacket,
        on_loss: OnLoss,
    ) -> None:
        self.role = role
        self.children: list[Child] = []
        self.lost_pids: deque[int] = deque(maxlen=MOST_LOST_PIDS)
        """Process ids of children that ended. They may have left a file half written."""
        self._size = size
        self._run = run
        self._keep_open = keep_open
        self._selector = selector
        self._on_packet = on_packet
        self._on_loss = on_loss
        self._deaths_in_a_row = 0

    @property
    def exhausted(self) -> bool:
        """Whether no child is left, and a crash loop keeps others from being forked."""
        return not self.children and self._too_many_deaths

    def get_idle(self) -> Child | None:
        """Return a child without a task, forked if need be; None if there can be none now."""
        for child in self.children:
            if child.task is None:
                return child
        if len(self.children) < self._size and not self._too_many_deaths:
            return self._spawn()
        return None

    def reset_deaths(self) -> None:
        """End a crash loop's ban on forking, for one last task."""
        self._deaths_in_a_row = 0

    @property
    def _too_many_deaths(self) -> bool:
        return self._deaths_in_a_row >= MOST_DEATHS_IN_A_ROW

    def send(self, child: Child, data: bytes, descriptors: tuple[int, ...] = ()) -> None:
        """Send to a child. One that does not receive it is killed; its end is noticed later."""
        try:
            if not child.channel.send(data, descriptors):
                child.kill()
        except ChannelClosed:
            pass

    def replace_all(self) -> None:
        """Replace each child as soon as it has no task."""
        for child in list(self.children):
            child.is_outdated = True
            self._replace_if_due(child)

    def dismiss(self, child: Child) -> str:
        """Remove a child that is not needed any more, end it, and return how it ended."""
        self._selector.unregister(child.channel)  # first: another may get the descriptor's number
        self.children.remove(child)
        return child.reap()

    def recall(self, child: Child) -> None:
        """End a child whose task another is to do, or that has none; no fault of its own."""
        self.lost_pids.append(child.pid)
        self.dismiss(child)

    def kill_hung(self) -> None:
        """Kill the children that do not get on with their task; their end is noticed later."""
        for child in self.children:
            if child.is_hung():
                child.kill()

    def _spawn(self) -> Child | None:
        try:
            child = child_process.fork(self.role, self._run, self._keep_open)
        except OSError as error:
            self._deaths_in_a_row += 1
            self._on_loss(None, f"no process for a {self.role}: {error}")
            return None
        self.children.append(child)
        self._selector.register(child.channel, selectors.EVENT_READ, lambda: self._receive(child))
        return child

    def _receive(self, child: Child) -> None:
        try:
            while (packet := child.channel.receive()) is not None:
                self._on_packet(child, packet)
        except ChannelClosed:
            self._reap(child)
        else:
            self._replace_if_due(child)

    def _replace_if_due(self, child: Child) -> None:
        # Between two tasks nothing is lost with a child.
        if child.task is None and child.needs_replacement():
            child.kill()
            self._reap(child)

    def _reap(self, child: Child) -> None:
        self.lost_pids.append(child.pid)
        self._deaths_in_a_row = 0 if child.completed else self._deaths_in_a_row + 1
        self._on_loss(child, self.dismiss(child))


NewPool = Callable[[OnPacket, OnLoss], WorkerPool]
"""Makes a pool that calls these two."""
