"""Joins a renderer that somebody else has started, by its socket."""

from dataclasses import dataclass
from pathlib import Path

from attnmon.link import rendezvous
from attnmon.link.channel import Channel
from attnmon.session.renderer_process import LaunchError


@dataclass(eq=False)
class AttachedRenderer:
    """A renderer that was joined, with the same methods as `RendererProcess`."""

    channel: Channel

    def last_words(self) -> str:
        """Return where to look for the reason of its end."""
        return "the log of attnmon-renderer may say why"

    def wait(self, timeout: float) -> bool:
        """Return at once: it goes on for others, and for this process it ends with the channel."""
        return True

    def abandon(self) -> None:
        """Close the channel without a message."""
        self.channel.close()


def attach(path: str = "") -> AttachedRenderer:
    """Connect to the renderer at this socket, or at the usual ones; never waits for it.

    Raises `LaunchError`, and does not start one instead: whoever says "attach" has chosen the
    processors and the container in which the drawing is done.
    """
    sockets = [Path(path)] if path else [f / rendezvous.SOCKET_NAME for f in rendezvous.folders()]
    reasons = []
    for socket in sockets:
        try:
            return AttachedRenderer(Channel(rendezvous.connect(socket)))
        except OSError as error:
            reasons.append(f"{socket}: {error.strerror or error}")
    raise LaunchError(
        f"there is no renderer to attach to ({'; '.join(reasons)}); start `attnmon-renderer` on "
        "this machine before the training, or leave out renderer='attach' and ATTNMON_RENDERER"
    )
