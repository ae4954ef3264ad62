"""The verbs on a bucket, and what their errors mean.

None of them retries: the uploader decides how long to wait.
"""

import re
from collections.abc import Iterator, Mapping
from typing import IO, Any, Literal, Protocol

BLOCK_BYTES = 1 << 20
MOST_BYTES = 1 << 28
"""The largest object that is in memory as a whole."""

Kind = Literal["network", "credentials", "clock", "refused", "taken"]
"""Why a request failed: the network or a busy service; credentials that are missing or have
expired; a clock that is off; a bucket that is not there or may not be used; a place that holds
something else."""


class BucketError(Exception):
    """A request failed; `kind` says what to do about it."""

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(text)
        self.kind: Kind = kind


class NoSuchObject(Exception):
    """There is no object of this name."""


class Changed(Exception):
    """Another process has written the object meanwhile."""


Version = Mapping[str, Any]
"""What tells one writing of an object from another."""


class Bucket(Protocol):
    """A bucket, or a folder in one; names are relative to it. Each raises `BucketError`."""

    def put(self, name: str, content: bytes | IO[bytes]) -> None:
        """Write an object, in place of one that is there."""

    def put_over(self, name: str, content: bytes, seen: Version | None) -> Version:
        """Write an object over the version that was seen; None: there was none.

        Raises `Changed` where another is there. Where a service cannot tell in one request it is
        looked at before, and what another process writes in that moment is lost.
        """

    def version(self, name: str) -> Version | None:
        """Return which version of an object is there; None if none is."""

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of an object. Raises `NoSuchObject`."""

    def names(self) -> Iterator[tuple[str, int]]:
        """Yield the name and size of each object. For a check only: readers go by the index."""

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""


def get(bucket: Bucket, name: str, most: int = MOST_BYTES) -> bytes:
    """Return an object. Raises `BucketError`, `NoSuchObject`, and ValueError for a larger one."""
    content = bytearray()
    for block in bucket.blocks(name):
        content += block
        if len(content) > most:
            raise ValueError(f"{name} has more than {most:,} bytes")
    return bytes(content)


def refused(error: Exception) -> Exception:
    """Return what an error means where something is written: none of that name is no bucket."""
    if isinstance(error, NoSuchObject):
        return BucketError("refused", str(error))
    return error


_CODE = re.compile(r"<Code>(\w+)</Code>")


def first_line(error: Exception) -> str:
    """Return what an error says in short: the service's code, or else its first line.

    Addresses may hold a signature, and are left out.
    """
    text = str(error)
    code = _CODE.search(text)
    line = code[1] if code else text.strip().partition("\n")[0]
    return re.sub(r"https?://\S+", "the service", line)[:200] or type(error).__name__
