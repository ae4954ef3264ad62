"""Captures that are kept and not drawn, in case something goes wrong: pure book-keeping.

    ──▶ KEPT ──▶ let go       their memory is the training process's all the time
          └────▶ the ledger   wanted after all, for a reason

The training process says what is kept and what is let go, always before it uses the memory for
something else. So what is here can be drawn, even when that process has died in between.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from attnmon.link import messages
from attnmon.link.messages import Capture
from attnmon.link.schema import MessageError
from attnmon_renderer.process_messages import Dumped

REMEMBERED = 10
"""Dumps that are listed in the summary, the latest."""


class RetainedCaptures:
    """The captures kept at present, oldest first, and what became of those before them."""

    def __init__(self) -> None:
        self.dumps: deque[Dumped] = deque(maxlen=REMEMBERED)
        self._kept: dict[int, Capture] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[int]:
        """Their sequence numbers."""
        return iter(self._kept)

    def add(self, capture: Capture) -> None:
        """Keep one more, and let go what it says is not kept any longer."""
        assert capture.retained_from is not None
        self.release(capture.retained_from)
        self._kept[capture.sequence] = capture

    def release(self, before: int) -> None:
        for sequence in [sequence for sequence in self._kept if sequence < before]:
            del self._kept[sequence]

    def clear(self) -> None:
        self._kept.clear()

    def dump(
        self, sequences: Iterable[int], reason: str, step: int | None
    ) -> dict[int, bytes | None]:
        """These captures' messages, to be drawn for this reason; None for one that is not here."""
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
