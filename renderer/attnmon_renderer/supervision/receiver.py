"""The conversation with the training process: its messages, and the answers to it.

Every message is checked here. A capture goes to the ledger, to be drawn, or to the retained
captures.
"""

import os
import selectors
from collections import deque
from dataclasses import replace

from attnmon.link import messages
from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import Acknowledgement, Capture, Dump, Goodbye, Refusal, Release
from attnmon.link.records.run_setup import Setup
from attnmon.link.records.schema import MessageError
from attnmon.link.records.training_accounts import Remarks
from attnmon_renderer.supervision.run_state import RunState
from attnmon_renderer.supervision.write_lock import WriteLock

NO_GOODBYE = "the training process ended without saying goodbye"


def receive_setup(channel: Channel, patience: float | None = None) -> tuple[Setup, int, WriteLock]:
    """Wait for the first message; return it with the ring's descriptor and the directory's lock.

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
    return setup, ring, WriteLock(lock[0] if lock else -1, setup.turn)


class Receiver:
    """Receives until the training process is gone, or until it is told to stop."""

    def __init__(
        self, channel: Channel, setup: Setup, run: RunState, selector: selectors.BaseSelector
    ) -> None:
        self._channel = channel
        self._setup = setup
        self._run = run
        self._outgoing: deque[Acknowledgement | Refusal] = deque()
        self._selector = selector
        selector.register(channel, selectors.EVENT_READ, self.receive_all)

    def receive_all(self) -> None:
        """Receive and handle all messages that have come."""
        if self._run.end_state == "renderer stopped":
            return  # the channel became readable at the same moment as the order to stop
        try:
            while (packet := self._channel.receive()) is not None:
                for descriptor in packet.descriptors:
                    os.close(descriptor)
                self._handle(packet.data)
        except ChannelClosed:
            self._selector.unregister(self._channel)
            if not self._run.end_state:
                self._trainer_lost()
            self._run.has_changed = True

    def stop(self, why: str) -> None:
        """Receive what has come, and refuse all that follows."""
        if not self._run.end_state:
            self.receive_all()
        if not self._run.end_state:
            self._selector.unregister(self._channel)
            self._run.end_state = "renderer stopped"
            self._run.remarks = replace(self._run.remarks, off=why)
            self._run.has_changed = True
            self._run.retained.clear()
            self._outgoing.append(Refusal(why))

    def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """Queue an acknowledgement, to be sent by `send_outgoing`."""
        self._outgoing.append(acknowledgement)

    @property
    def has_unsent(self) -> bool:
        """Whether answers wait for room in the channel."""
        return bool(self._outgoing)

    def send_outgoing(self) -> None:
        """Send as many answers as the channel has room for."""
        try:
            while self._outgoing:
                if not self._channel.send(messages.encode(self._outgoing[0])):
                    return
                self._outgoing.popleft()
        except ChannelClosed:
            self._outgoing.clear()  # nobody is left to receive it

    def _trainer_lost(self) -> None:
        self._run.end_state = "trainer lost"
        if sequences := tuple(self._run.retained):
            accounts = self._run.accounts
            accounts = replace(accounts, captured=accounts.captured + len(sequences))
            self._dump(Dump(NO_GOODBYE, sequences, accounts))

    def _handle(self, packed: bytes) -> None:
        try:
            message = messages.decode(packed)
            if isinstance(message, Capture):
                if message.retained_from is None:
                    self._enqueue(message, packed)
                else:
                    self._retain(message)
            elif isinstance(message, Release):
                self._run.retained.release(message.before)
            elif isinstance(message, Dump):
                self._dump(message)
            elif isinstance(message, Remarks):
                self._run.remarks = message
                self._run.has_changed = True
            elif isinstance(message, Goodbye):
                self._run.accounts = message.accounts
                self._run.end_state = "closed"
                self._run.retained.clear()
            else:
                raise MessageError(f"not for the renderer: {message!r:.200}")
        except ValueError as error:
            self._run.errors.append(f"refused a message: {error}")

    def _enqueue(self, capture: Capture, packed: bytes) -> None:
        """Add a capture to the ledger; as failed, when it does not fit the ring."""
        entry = self._run.ledger.add(
            capture.sequence, packed, capture.weight_count, capture.timestamp
        )
        self._run.accounts = capture.accounts
        self._note_first(capture)
        try:
            capture.require_inside(self._setup.ring_bytes, self._setup.slot_bytes)
        except MessageError as error:
            self._run.ledger.fail(entry, f"refused: {error}")

    def _note_first(self, capture: Capture) -> None:
        if self._run.first_step is None:
            self._run.first_step = capture.step

    def _retain(self, capture: Capture) -> None:
        capture.require_inside(self._setup.ring_bytes, self._setup.slot_bytes)
        self._run.retained.add(capture)
        self._run.accounts = capture.accounts

    def _dump(self, dump: Dump) -> None:
        """Add retained captures to the ledger, in the order of the steps."""
        self._run.accounts = dump.accounts
        self._run.has_changed = True
        found = self._run.retained.dump(dump.sequences, dump.reason, dump.accounts.last_step)
        for sequence, packed in found.items():
            if packed is None:
                entry = self._run.ledger.add(sequence, b"")
                self._run.ledger.fail(entry, "it was to be kept, and never came")
            else:
                wanted = messages.decode(packed)
                assert isinstance(wanted, Capture)
                self._note_first(wanted)
                self._run.ledger.add(sequence, packed, wanted.weight_count, wanted.timestamp)
