"""What the server answers: data, before it becomes HTTP."""

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from attnmon_renderer.sinks.statistics_json import to_json

NOT_STORED = "no-store"
LEAST_BYTES = 1024
"""Of what is worth compressing: for a tunnel, and for a history, of which a thirtieth remains."""
IMMUTABLE = "private, immutable, max-age=31536000"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a request."""

    body: bytes
    media_type: str
    status: int = 200
    cache: str = NOT_STORED
    """The header `Cache-Control`."""
    headers: Mapping[str, str] = field(default_factory=dict)

    def packed_for(self, accepted: str) -> "Answer":
        """Return it compressed, if it is worth it and a client accepts that."""
        if len(self.body) < LEAST_BYTES or self.media_type.startswith("image/"):
            return self
        headers = {**self.headers, "Vary": "Accept-Encoding"}
        if "gzip" not in re.split(r"[\s,;]+", accepted.lower()):
            return replace(self, headers=headers)
        packed = gzip.compress(self.body, compresslevel=1, mtime=0)
        return replace(self, body=packed, headers={**headers, "Content-Encoding": "gzip"})


class Refused(Exception):
    """A request is not answered as asked; says why.

    Args:
        status: The code of HTTP: 404 where there is no such thing, 400 for a malformed question.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status

    def answer(self) -> Answer:
        """Return what is sent instead."""
        return text_answer(self.status, str(self))


def json_answer(content: Any) -> Answer:
    """Return an answer of strict JSON. Raises RecursionError for what is nested too deep."""
    return Answer(to_json(content).encode(), "application/json")


def text_answer(status: int, text: str) -> Answer:
    """Return an answer in words."""
    body = (text + "\n").encode("utf-8", "replace")
    return Answer(body, "text/plain; charset=utf-8", status)
