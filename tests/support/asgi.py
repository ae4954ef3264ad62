"""Asks an ASGI application as a server would, without a socket and without a library."""

import asyncio
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote

Result = TypeVar("Result")


@dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]
    """Names in small letters; of several values the last."""
    body: bytes


class Client:
    """Asks for addresses.

    Args:
        headers: sent with every request, but for those that a call gives.
    """

    def __init__(self, application: Any, headers: Mapping[str, str]) -> None:
        self._application = application
        self._headers = {"host": "127.0.0.1:6061", **headers}

    def __call__(self, target: str, method: str = "GET", **headers: str) -> Response:
        """Asks for an address; underscores in the names of headers stand for hyphens."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        every = {**self._headers, **given}
        return self.send(scope_of(target, method, list(every.items())))

    def send(self, scope: dict[str, Any]) -> Response:
        return run_apart(_exchange(self._application, scope))


def run_apart(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Runs a coroutine in a thread: a browser that is driven from here has a loop in this one."""
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(asyncio.run, coroutine).result()


def scope_of(target: str, method: str, headers: list[tuple[str, str]]) -> dict[str, Any]:
    path, _, query = target.partition("?")
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "method": method, "scheme": "http", "path": unquote(path), "root_path": "",
        "raw_path": path.encode("utf-8", "surrogateescape"),
        "query_string": query.encode("utf-8", "surrogateescape"),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 6061), "state": {},
    }  # fmt: skip


async def _exchange(application: Any, scope: dict[str, Any]) -> Response:
    sent: list[dict[str, Any]] = []
    asked = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        try:
            return next(asked)
        except StopIteration:
            return await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await application(scope, receive, send)
    start = sent[0]
    headers = {name.decode("latin-1").lower(): value.decode("latin-1")
               for name, value in start.get("headers", [])}  # fmt: skip
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Response(start.get("status", 0), headers, body)
