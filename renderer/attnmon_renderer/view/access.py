"""Decides who is answered: by a token, by the host that was asked for, by where a page is from."""

import hmac
import platform
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
EVERYWHERE = ("0.0.0.0", "::", "")
"""Hosts that stand for all addresses of the machine."""
_TOKEN_BYTES = 32
_PORT = re.compile(r"[0-9]{1,5}")
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:]+\]|[a-z0-9_.-]+)(:[0-9]{1,5})?")


def new_token() -> str:
    """Return a token that nobody can guess: 256 bits."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


@dataclass(frozen=True)
class Access:
    """Who may ask, and for which hosts."""

    cookie: str
    """The cookie's name. It has the port in it: browsers send cookies to every port of a host."""
    hosts: frozenset[str] = frozenset(LOOPBACK)
    """The names that a client may have asked for, without ports."""
    frame_ancestors: tuple[str, ...] = ()
    """Origins of pages that may show this one in a frame."""
    token: str = field(default_factory=new_token, repr=False)

    def is_token(self, given: str) -> bool:
        """Return whether this is the token, in a time that does not tell how much of it is."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())

    def is_host(self, header: str) -> bool:
        """Return whether a `Host` header is one of those names, with any port or none."""
        name, colon, port = header.lower().rpartition(":")
        if not colon or header.endswith("]"):
            return header.lower() in self.hosts
        return name in self.hosts and _PORT.fullmatch(port) is not None

    def cookie_header(self) -> str:
        """Return the `Set-Cookie` header. It has no path, so that it is that of the page."""
        return f"{self.cookie}={self.token}; HttpOnly; SameSite=Strict"


def cookie_name(port: int | None) -> str:
    """Return the name of a cookie; servers behind tunnels may have the same port, or none."""
    return f"attnmon_{port or 'uds'}_{secrets.token_hex(4)}"


def host_names(host: str, others: Iterable[str]) -> frozenset[str]:
    """Return the names by which a server is asked that listens at a host.

    Raises ValueError for a name that is none.
    """
    own = platform.node() if host in EVERYWHERE else bracketed(host)
    for name in others:
        if not re.fullmatch(r"\[[0-9a-f:]+\]|[a-z0-9_.-]+", bracketed(name).lower()):
            raise ValueError(f"{name!r} is no name of a host: give it without http:// and port")
    return frozenset(name.lower() for name in (*LOOPBACK, own, *map(bracketed, others)))


def bracketed(host: str) -> str:
    """Return a host as it stands in addresses: IPv6 in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def frame_ancestor(text: str) -> str:
    """Return an origin, or "self", as the policy spells it. Raises ValueError for anything else."""
    if text.strip("'") == "self":
        return "'self'"
    if _ORIGIN.fullmatch(text.lower()) is None:
        raise ValueError(f"{text!r} is no origin: give one such as http://localhost:8888, or self")
    return text.lower()


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
