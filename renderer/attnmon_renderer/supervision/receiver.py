"""The training process's end of the channel: what it announces, and what it is told in return.

Every message is checked here, and goes to the ledger, to be drawn, or to the window, to be kept.
How the training ended is known here first.
"""

import os
import selectors
from collections import deque
from dataclasses import replace

from attnmon.link import messages
from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import (
    Accounts,
    Acknowledgement,
    Capture,
    Dump,
    Goodbye,
    Refusal,
    Release,
    Setup,
)
from attnmon.link.schema import MessageError
from attnmon_renderer.supervision.ledger import Ledger
from attnmon_renderer.supervision.retained_captures import RetainedCaptures
from attnmon_renderer.supervision.write_lock import WriteLock

KEPT_ERRORS = 10
NO_GOODBYE = "the training process ended without saying goodbye"


def receive_setup(channel: Channel, patience: float | None = None) -> tuple[Setup, int, WriteLock]:
    """The first message, and with it the ring's descriptor and the lock on the directory.

    Raises `MessageError` for anything else, and when nothing comes for `patience` seconds.
    """
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        while (packet := channel.receive()) is None:
            if not selector.select(patience):
                raise MessageError(f"no Setup came for {patience} seconds")
    setup = messages.decode(packet.data)
    if not isinstance(setup, Setup) or len(packet.descriptors) not in (1, 2):
        raise MessageError(f"a Setup and its descriptors must come first, not {setup!r:.200}")
    ring, *lock = packet.descriptors
    return setup, ring, WriteLock(lock[0] if lock else -1, setup.started)


class Receiver:
    """Takes in until the training process is gone, or until it is told to stop."""

    def __init__(
        self, channel: Channel, setup: Setup, ledger: Ledger, selector: selectors.BaseSelector
    ) -> None:
        self.accounts = Accounts()
        self.retained = RetainedCaptures()
        self.errors: deque[str] = deque(maxlen=KEPT_ERRORS)
        self.end_state = ""
        """How it ended: "closed", "trainer lost" or "renderer stopped"; empty while it goes on."""
        self.status_changed = True
        """For the summary, beside what each capture says."""
        self._channel = channel
        self._setup = setup
        self._ledger = ledger
        self._outgoing: deque[Acknowledgement | Refusal] = deque()
        self._selector = selector
        selector.register(channel, selectors.EVENT_READ, self.receive_all)

    def receive_all(self) -> None:
        """Take in all that has come."""
        if self.end_state == "renderer stopped":
            return  # its channel was ready in the same moment as the word to stop
        try:
            while (packet := self._channel.receive()) is not None:
                for descriptor in packet.descriptors:
                    os.close(descriptor)
                self._handle(packet.data)
        except ChannelClosed:
            self._selector.unregister(self._channel)
            if not self.end_state:
                self._trainer_lost()
            self.status_changed = True

    def stop(self, why: str) -> None:
        """Take in what has come, and no more."""
        if not self.end_state:
            self.receive_all()
        if not self.end_state:
            self._selector.unregister(self._channel)
            self.end_state = "renderer stopped"
            self.status_changed = True
            self.retained.clear()
            self._outgoing.append(Refusal(why))

    def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        self._outgoing.append(acknowledgement)

    @property
    def has_unsent(self) -> bool:
        return bool(self._outgoing)

    def send_outgoing(self) -> None:
        """What the training process has room for; the rest another time."""
        try:
            while self._outgoing:
                if not self._channel.send(messages.encode(self._outgoing[0])):
                    return
                self._outgoing.popleft()
        except ChannelClosed:
            self._outgoing.clear()  # nobody is left to hear it

    def _trainer_lost(self) -> None:
        self.end_state = "trainer lost"
        if kept := tuple(self.retained):
            captured = self.accounts.captured + len(kept)
            self._dump(Dump(NO_GOODBYE, kept, replace(self.accounts, captured=captured)))

    def _handle(self, packed: bytes) -> None:
        try:
            message = messages.decode(packed)
            if isinstance(message, Capture):
                if message.retained_from is None:
                    self._enqueue(message, packed)
                else:
                    self._retain(message)
            elif isinstance(message, Release):
                self.retained.release(message.before)
            elif isinstance(message, Dump):
                self._dump(message)
            elif isinstance(message, Goodbye):
                self.accounts = message.accounts
                self.end_state = "closed"
                self.retained.clear()
            else:
                raise MessageError(f"not for the renderer: {message!r:.200}")
        except ValueError as error:
            self.errors.append(f"refused a message: {error}")

    def _enqueue(self, capture: Capture, packed: bytes) -> None:
        """Put it on the list; one that does not fit the ring is known by its number, and fails."""
        entry = self._ledger.add(capture.sequence, packed, capture.weight_count)
        self.accounts = capture.accounts
        try:
            capture.require_inside(self._setup.ring_bytes, self._setup.slot_bytes)
        except MessageError as error:
            self._ledger.fail(entry, f"refused: {error}")

    def _retain(self, capture: Capture) -> None:
        capture.require_inside(self._setup.ring_bytes, self._setup.slot_bytes)
        self.retained.add(capture)
        self.accounts = capture.accounts

    def _dump(self, dump: Dump) -> None:
        """What was kept is to be drawn, in the order of the steps."""
        self.accounts = dump.accounts
        self.status_changed = True
        found = self.retained.dump(dump.sequences, dump.reason, dump.accounts.last_step)
        for sequence, packed in found.items():
            if packed is None:
                entry = self._ledger.add(sequence, b"")
                self._ledger.fail(entry, "it was to be kept, and never came")
            else:
                wanted = messages.decode(packed)
                assert isinstance(wanted, Capture)
                self._ledger.add(sequence, packed, wanted.weight_count)
