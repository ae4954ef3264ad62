"""Puts the routes, the endpoints and the gate together: one ASGI application.

Starlette comes with the extra `attnmon[view]`, so it is imported only here and when it is used.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from attnmon_renderer.view.access import Access
from attnmon_renderer.view.answer import NOT_STORED, Answer, Refused
from attnmon_renderer.view.changes import Changes
from attnmon_renderer.view.endpoints import Endpoint, Endpoints
from attnmon_renderer.view.gate import Application, Gate

API = "/api/v1"
RUN = API + "/runs/{run}"
CAPTURE = RUN + "/captures/{capture}"
EVENTS = API + "/events"
ROUTES: dict[str, Endpoint] = {
    "/": Endpoints.page,
    "/latest": Endpoints.page,
    "/app/{digest}/{name:path}": Endpoints.part,
    API + "/runs": Endpoints.runs,
    RUN: Endpoints.run,
    RUN + "/history": Endpoints.history,
    CAPTURE: Endpoints.capture,
    CAPTURE + "/{layer}/thumbs": Endpoints.thumbs,
    CAPTURE + "/{layer}/{head}": Endpoints.head,
    RUN + "/pictures/{capture}/{name}": Endpoints.picture,
    API + "/compare": Endpoints.compare,
}
"""What answers at which address, but for the events; the first that fits is taken."""
AT_ONCE = 8
"""Requests that read files at the same time, each with its share of memory."""


def make_application(endpoints: Endpoints, access: Access, changes: Changes) -> Application:
    """Return the whole server, behind its gate."""
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Route

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        from anyio.to_thread import current_default_thread_limiter

        current_default_thread_limiter().total_tokens = AT_ONCE
        polling = asyncio.create_task(changes.poll_forever())
        yield
        polling.cancel()
        with suppress(asyncio.CancelledError):
            await polling

    routes = [Route(path, _handler(endpoints, answer)) for path, answer in ROUTES.items()]
    application = Starlette(
        routes=[*routes, Route(EVENTS, _events(changes))],
        exception_handlers={
            Refused: lambda _, refused: _response(refused.answer()),
            HTTPException: lambda _, error: _response(
                Refused(error.status_code, error.detail).answer()
            ),
        },
        lifespan=lifespan,
    )
    application.router.redirect_slashes = False  # it would make an address of what a client sent
    return Gate(application, access)


def _handler(endpoints: Endpoints, endpoint: Endpoint) -> Callable[[Any], Any]:
    """Return what answers a request of Starlette's, in a thread."""

    def handle(request: Any) -> Any:
        answer = endpoint(endpoints, {**request.query_params, **request.path_params})
        return _response(answer.packed_for(request.headers.get("accept-encoding", "")))

    return handle


def _events(changes: Changes) -> Callable[[Any], Any]:
    from starlette.responses import Response, StreamingResponse

    async def stream(request: Any) -> Any:
        headers = {"Cache-Control": NOT_STORED, "X-Accel-Buffering": "no"}
        if request.method == "HEAD":
            return Response(headers=headers, media_type="text/event-stream")
        return StreamingResponse(changes.stream(), headers=headers, media_type="text/event-stream")

    return stream


def _response(answer: Answer) -> Any:
    from starlette.responses import Response

    headers = {"Cache-Control": answer.cache, **answer.headers}
    return Response(answer.body, answer.status, headers, answer.media_type)
