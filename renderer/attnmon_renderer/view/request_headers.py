"""Reads the headers of a request."""

from collections.abc import Iterable, Iterator


class RequestHeaders:
    """Names and values, as a server hands them to an application."""

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._headers = [
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers
        ]

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for each, value in self._headers if each == name]

    def one(self, name: str) -> str:
        """Return the value of a header; empty if there is none."""
        return next(iter(self.all(name)), "")

    def tokens(self, cookie: str) -> Iterator[str]:
        """Yield what may be a token, in the cookie of this name and in `Authorization`."""
        for header in self.all("authorization"):
            scheme, _, credentials = header.partition(" ")
            if scheme.lower() == "bearer":
                yield credentials.strip()
        for header in self.all("cookie"):
            for pair in header.split(";"):
                name, _, value = pair.strip().partition("=")
                if name == cookie:
                    yield value
