"""The process that sends messages: so that neither drawing nor training waits for a network.

It is forked by the supervisor, and reads alerts from a channel until that is closed. Then it sends
what is left, and ends.
"""

import contextlib
import os
import select
import selectors
from collections.abc import Callable, Sequence
from pathlib import Path

from attnmon.link import messages
from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import Acknowledgement, Refusal
from attnmon.link.records.alert import Alert
from attnmon.link.records.run_setup import Notification, Setup
from attnmon_renderer.insight.news import News
from attnmon_renderer.process_title import set_title

FAILED = "a message about an alert was not received: {why}"


class Notifier:
    """The process, seen from the supervisor; there is none where nobody is to be told.

    Args:
        on_error: takes what could not be sent, in words.
    """

    def __init__(
        self, setup: Setup, selector: selectors.BaseSelector, on_error: Callable[[str], None]
    ) -> None:
        self._selector = selector
        self._on_error = on_error
        self._channel: Channel | None = None
        if setup.notification.address:
            try:
                self._channel = _fork(setup)
            except OSError as error:
                on_error(FAILED.format(why=f"no process could be started ({error.strerror})"))
            else:
                selector.register(self._channel, selectors.EVENT_READ, self._hear)

    def tell(self, alerts: Sequence[Alert]) -> None:
        """Hand in what changed; never waits. What does not fit into the channel is left out."""
        if self._channel is not None and alerts:
            try:
                self._channel.send(messages.encode(Acknowledgement(0, alerts=tuple(alerts))))
            except ChannelClosed:
                self.close()

    def close(self) -> None:
        """Let the process send what is left by itself, and end."""
        if self._channel is not None:
            self._selector.unregister(self._channel)
            self._channel.close()
            self._channel = None

    def _hear(self) -> None:
        assert self._channel is not None
        try:
            while (packet := self._channel.receive()) is not None:
                answer = messages.decode(packet.data)
                assert isinstance(answer, Refusal)
                self._on_error(FAILED.format(why=answer.reason))
        except ChannelClosed:
            self.close()


def _fork(setup: Setup) -> Channel:
    ours, theirs = Channel.pair()
    if os.fork():
        theirs.close()
        return ours
    try:
        _keep_only(theirs.fileno())
        set_title("notifier", setup.save_dir)
        _serve(theirs, setup.notification, Path(setup.save_dir))
    finally:
        os._exit(0)


def _keep_only(descriptor: int) -> None:
    """Close all descriptors but the standard ones and this: they hold locks, and the ring."""
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, min(os.sysconf("SC_OPEN_MAX"), 1 << 16))


def _serve(channel: Channel, notification: Notification, save_dir: Path) -> None:
    # They take time to load, and are only for us.
    from attnmon_renderer.insight.notify.attachment import read_attachment
    from attnmon_renderer.insight.notify.sending import Sender

    sender, news = Sender(notification.address, save_dir.name), News(notification.level)
    with contextlib.suppress(ChannelClosed):
        while True:
            select.select([channel], [], [])
            packet = channel.receive()
            if packet is None:
                continue
            told = messages.decode(packet.data)
            assert isinstance(told, Acknowledgement)
            for alert in news.of(told.alerts):
                picture = read_attachment(save_dir, alert) if notification.pictures else None
                if why := sender.send(alert, picture):
                    _answer(channel, why)


def _answer(channel: Channel, why: str) -> None:
    """Tell the supervisor, if it is still there: what was told before is still to be sent."""
    with contextlib.suppress(ChannelClosed):
        channel.send(messages.encode(Refusal(why)))
