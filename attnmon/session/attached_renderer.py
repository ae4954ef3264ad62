"""A renderer that somebody else started: joined by a socket instead of started by `launch`."""

from dataclasses import dataclass
from pathlib import Path

from attnmon.link import rendezvous
from attnmon.link.channel import Channel
from attnmon.session.renderer_process import LaunchError


@dataclass(eq=False)
class AttachedRenderer:
    """Such a renderer, seen from the training process, in the form of `launch.Renderer`."""

    channel: Channel

    def last_words(self) -> str:
        return "the log of attnmon-renderer may say why"

    def wait(self, timeout: float) -> bool:
        """It goes on for others; the end of the channel was its end for this process."""
        return True

    def abandon(self) -> None:
        self.channel.close()


def attach(path: str = "") -> AttachedRenderer:
    """Connect to the renderer at this socket, or at the usual places; never waits for it.

    Raises `LaunchError`, and does not start one instead: who says "attach" has chosen on which
    processors and in which container the drawing is done.
    """
    places = [Path(path)] if path else [f / rendezvous.SOCKET_NAME for f in rendezvous.folders()]
    reasons = []
    for place in places:
        try:
            return AttachedRenderer(Channel(rendezvous.connect(place)))
        except OSError as error:
            reasons.append(f"{place}: {error.strerror or error}")
    raise LaunchError(
        f"there is no renderer to attach to ({'; '.join(reasons)}); start `attnmon-renderer` on "
        "this machine before the training, or leave out renderer='attach' and ATTNMON_RENDERER"
    )
