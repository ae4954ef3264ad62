"""The flight recorder's captures, retained undrawn in case something goes wrong: tables, no I/O.

    ──▶ RETAINED ──▶ released      their slots belong to the training process all the time
            └──────▶ the ledger    a dump: they are drawn after all, for a reason

The training process announces what it retains and releases, always before it uses the slots for
something else. So what is here can be drawn, even when that process has died meanwhile.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from attnmon.link import messages
from attnmon.link.messages import Capture
from attnmon.link.records.schema import MessageError
from attnmon_renderer.process_messages import Dumped

REMEMBERED = 10
"""The summary lists the latest dumps, at most so many."""


class RetainedCaptures:
    """The captures retained at present, oldest first, and the dumps so far."""

    def __init__(self) -> None:
        self.dumps: deque[Dumped] = deque(maxlen=REMEMBERED)
        """The latest dumps, oldest first."""
        self._kept: dict[int, Capture] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[int]:
        """Iterate over the sequence numbers, oldest first."""
        return iter(self._kept)

    def add(self, capture: Capture) -> None:
        """Retain a capture, and release those that its message says are not retained any more."""
        assert capture.retained_from is not None
        self.release(capture.retained_from)
        self._kept[capture.sequence] = capture

    def release(self, before: int) -> None:
        """Release the captures with a lower sequence number."""
        for sequence in [sequence for sequence in self._kept if sequence < before]:
            del self._kept[sequence]

    def clear(self) -> None:
        self._kept.clear()

    def dump(
        self, sequences: Iterable[int], reason: str, step: int | None
    ) -> dict[int, bytes | None]:
        """Return the messages of these captures, to be drawn for this reason, and clear the rest.

        The value is None for a capture that is not here.

        Args:
            step: the last step that the training process looked at.
        """
        found = {sequence: self._message_for(reason, sequence) for sequence in sequences}
        self.clear()
        self.dumps.append(Dumped(reason, step, len(found)))
        return found

    def _message_for(self, reason: str, sequence: int) -> bytes | None:
        if sequence not in self._kept:
            return None
        wanted = replace(self._kept[sequence], retained_from=None)
        try:
            return messages.encode(replace(wanted, dump_reason=reason))
        except MessageError:  # as large as a message can be: better drawn without the reason
            return messages.encode(wanted)
