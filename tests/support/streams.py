"""Streams in the place of standard error."""

import io


class TerminalStream(io.StringIO):
    """What is written to it, as if to a terminal."""

    def isatty(self) -> bool:
        return True
