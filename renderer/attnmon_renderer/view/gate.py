"""The one way into the server: nothing behind it is asked before all of these checks have passed.

A plain ASGI application around the other, so that no route can be without it.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from attnmon_renderer.view.access import Access, RequestHeaders

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

METHODS = ("GET", "HEAD")
POLICY_VIOLATION = 1008
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
)
PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""A picture shown by itself is an empty page: an SVG of it runs nothing and loads nothing."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
OPEN_IT = "open the address that `attnmon view` has printed, with ?t= and all"


class Rejected(Exception):
    """A request is not let through.

    Args:
        status: The code of HTTP that is answered.
    """

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers


class Gate:
    """Lets requests through to an application that pass every check.

    Args:
        application: What answers.
        access: Who may ask.
    """

    def __init__(self, application: Application, access: Access) -> None:
        self._application = application
        self._access = access
        ancestors = " ".join(access.frame_ancestors) or "'none'"
        self._ancestors = f"; frame-ancestors {ancestors}"

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, self._with_headers(send))
        else:
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            self._check(scope)
        except Rejected as rejected:
            await _send_text(send, rejected.status, str(rejected), rejected.headers)
        else:
            await self._application(scope, receive, send)

    def _check(self, scope: Message) -> None:
        """Raise `Rejected` for a request that is not to be answered."""
        if scope["method"] not in METHODS:
            raise Rejected(405, "this server answers GET and HEAD only", Allow=", ".join(METHODS))
        headers = RequestHeaders(scope["headers"])
        if len(headers.all("host")) != 1 or not self._access.is_host(headers.one("host")):
            raise Rejected(403, "not a host that this server was started for; see --allow-host")
        if headers.all("upgrade"):
            raise Rejected(403, "this server speaks HTTP only")
        self._check_origin(headers)
        self._check_token(scope, headers)

    def _check_origin(self, headers: RequestHeaders) -> None:
        """Raise `Rejected` for what a page of another origin asks."""
        origins = headers.all("origin")
        if any(
            origin.partition("://")[2].lower() != headers.one("host").lower() for origin in origins
        ):
            raise Rejected(403, "asked by a page of another origin")
        site = headers.one("sec-fetch-site")
        if site in ("", "none", "same-origin"):
            return
        opens = headers.one("sec-fetch-mode") == "navigate"
        shown_in = ("document", "iframe") if self._access.frame_ancestors else ("document",)
        # Another port of the same host may lead here, as a notebook's terminal does, not look in.
        if site != "same-site" or not opens or headers.one("sec-fetch-dest") not in shown_in:
            raise Rejected(403, f"asked by a page of another origin; {OPEN_IT}")

    def _check_token(self, scope: Message, headers: RequestHeaders) -> None:
        """Raise `Rejected` without the token, and to take it out of an address."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        in_address = [value for name, value in query if name == "t"]
        if in_address and self._access.is_token(in_address[-1]):
            raise Rejected(303, "", **{"Location": _without_token(scope, query),
                                       "Set-Cookie": self._access.cookie_header()})  # fmt: skip
        if not any(map(self._access.is_token, headers.tokens(self._access.cookie))):
            raise Rejected(403, f"no token, or not this server's: {OPEN_IT}")

    def _with_headers(self, send: Send) -> Send:
        """Return a `send` that adds to every answer what keeps a browser from doing harm."""

        async def send_all(message: Message) -> None:
            if message["type"] == "http.response.start":
                kind = dict(message["headers"]).get(b"content-type", b"")
                policy = PICTURE_POLICY if kind.startswith(b"image/") else PAGE_POLICY
                added = {**HEADERS, "Content-Security-Policy": policy + self._ancestors}
                message["headers"] = [*message["headers"], *_encoded(added)]
            await send(message)

        return send_all


def _without_token(scope: Message, query: list[tuple[str, str]]) -> str:
    """Return the address of the same page, relative to itself: what prefix it has is not known."""
    rest = urlencode([(name, value) for name, value in query if name != "t"])
    last = scope.get("raw_path", b"/").decode("latin-1").rpartition("/")[2]
    return f"./{last}" + (f"?{rest}" if rest else "")


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


async def _send_text(send: Send, status: int, text: str, headers: dict[str, str]) -> None:
    body = f"{text}\n".encode()
    about = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
    }
    await send(
        {"type": "http.response.start", "status": status, "headers": _encoded({**about, **headers})}
    )
    await send({"type": "http.response.body", "body": body})
