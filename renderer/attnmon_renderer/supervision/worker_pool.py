"""Children of one role: recruited when there is work, heard, and replaced when they are lost."""

import selectors
from collections import deque
from collections.abc import Callable

from attnmon.link.channel import Channel, ChannelClosed, Packet
from attnmon_renderer.supervision import child_process
from attnmon_renderer.supervision.child_process import Child

MOST_LOST_PIDS = 1000
MOST_DEATHS_IN_A_ROW = 5
"""In a row, without one finished task in between: then it is a crash loop, and it ends."""


class WorkerPool:
    """Forks up to `size` children that run `run`.

    What a child says goes to `on_packet`; how it ended, to `on_loss`.
    """

    def __init__(
        self,
        role: str,
        size: int,
        run: Callable[[Channel], None],
        keep_open: set[int],
        selector: selectors.BaseSelector,
        on_packet: Callable[[Child, Packet], None],
        on_loss: Callable[[Child | None, str], None],
    ) -> None:
        self.role = role
        self.children: list[Child] = []
        self.lost_pids: deque[int] = deque(maxlen=MOST_LOST_PIDS)
        """Process ids of those that died: they may have left a file half written."""
        self._size = size
        self._run = run
        self._keep_open = keep_open
        self._selector = selector
        self._on_packet = on_packet
        self._on_loss = on_loss
        self._deaths_in_a_row = 0

    @property
    def exhausted(self) -> bool:
        """Whether none is left, and they died so often that no more are recruited."""
        return not self.children and self._too_many_deaths

    def get_idle(self) -> Child | None:
        """One that is free to work, recruited if there may be one more; None if there may not."""
        for child in self.children:
            if child.task is None:
                return child
        if len(self.children) < self._size and not self._too_many_deaths:
            return self._spawn()
        return None

    def reset_deaths(self) -> None:
        """Forget how often they died: for the one thing that is still to be done."""
        self._deaths_in_a_row = 0

    @property
    def _too_many_deaths(self) -> bool:
        return self._deaths_in_a_row >= MOST_DEATHS_IN_A_ROW

    def send(self, child: Child, data: bytes, descriptors: tuple[int, ...] = ()) -> None:
        """Send; a child that does not take it is as good as dead, and its end will be heard."""
        try:
            if not child.channel.send(data, descriptors):
                child.kill()
        except ChannelClosed:
            pass

    def replace_all(self) -> None:
        """Let each be followed by another as soon as it is free."""
        for child in list(self.children):
            child.outdated = True
            self._replace_if_worn(child)

    def kill_hung(self) -> None:
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
            self._replace_if_worn(child)

    def _replace_if_worn(self, child: Child) -> None:
        """Between two tasks nothing is lost with it, so its end counts as nothing."""
        if child.task is None and child.needs_replacement():
            child.kill()
            self._reap(child)

    def _reap(self, child: Child) -> None:
        self._selector.unregister(child.channel)
        self.children.remove(child)
        self.lost_pids.append(child.pid)
        self._deaths_in_a_row = 0 if child.completed else self._deaths_in_a_row + 1
        self._on_loss(child, child.reap())
