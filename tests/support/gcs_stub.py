"""A bucket behind the XML interface of Google Cloud Storage, over real HTTP, with faults on wish.

The same faults can be put in front of other services: `FaultyProxy` passes on what has none.
"""

import http.client
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

Answer = tuple[int, bytes]
Fault = Callable[[str, str], Answer | None]
"""Given the method and the path, the answer in place of the service's; None for the service's.

A status of 0 closes the connection without an answer.
"""


def no_fault(method: str, path: str) -> Answer | None:
    return None


class FaultyServer(ThreadingHTTPServer):
    """Answers as `answer` does, but for faults; counts what it was sent."""

    daemon_threads = True
    request_queue_size = 128  # a client whose connection is not taken tries again a second later

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fault: Fault = no_fault
        self.requests = 0
        self.received = 0
        """Bytes of the objects that were accepted."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, handler: "_Handler", body: bytes) -> tuple[int, dict[str, str], bytes]:
        raise NotImplementedError

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that a client has closed."""


class GcsStub(FaultyServer):
    """One bucket, in memory."""

    def __init__(self, bucket: str = "bucket") -> None:
        super().__init__()
        self.bucket = bucket
        self.objects: dict[str, bytes] = {}
        self.generations: dict[str, int] = {}
        self.refuses_conditions = 0
        """The status of the answer to a request to write if the object is of some generation."""
        self._count = itertools.count(2)
        self._writing = threading.Lock()

    def answer(self, handler: "_Handler", body: bytes) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(handler.path)
        bucket, _, name = unquote(parts.path).lstrip("/").partition("/")
        if bucket != self.bucket:
            return 404, {}, b"<Error><Code>NoSuchBucket</Code></Error>"
        if not name:
            return 200, {}, self._listing(parse_qs(parts.query).get("prefix", [""])[0])
        if handler.command == "PUT":
            return self._put(name, body, handler.headers.get("x-goog-if-generation-match"))
        if name not in self.objects:
            return 404, {}, b"<Error><Code>NoSuchKey</Code></Error>"
        if handler.command == "DELETE":
            del self.objects[name]
            self.generations.pop(name, None)
            return 204, {}, b""
        stamp = "Thu, 01 Jan 2026 00:00:00 GMT"
        return 200, {"Last-Modified": stamp, **self._version(name)}, self.objects[name]

    def _put(
        self, name: str, body: bytes, expected: str | None
    ) -> tuple[int, dict[str, str], bytes]:
        if expected is not None and self.refuses_conditions:
            return self.refuses_conditions, {}, b"<Error><Code>NotImplemented</Code></Error>"
        with self._writing:
            if expected not in (None, str(self.generations.get(name, 0))):
                return 412, {}, b"<Error><Code>PreconditionFailed</Code></Error>"
            self.objects[name] = body
            self.generations[name] = next(self._count)
            return 200, self._version(name), b""

    def _version(self, name: str) -> dict[str, str]:
        told = str(self.generations.setdefault(name, 1))
        return {"ETag": f'"{told}"', "x-goog-generation": told}

    def _listing(self, prefix: str) -> bytes:
        found = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(content)}</Size>"
            '<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"1"</ETag></Contents>'
            for name, content in sorted(self.objects.copy().items())
            if name.startswith(prefix)
        )
        return f"<ListBucketResult><Name>b</Name>{found}</ListBucketResult>".encode()


class FaultyProxy(FaultyServer):
    """Passes requests on to another service."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def answer(self, handler: "_Handler", body: bytes) -> tuple[int, dict[str, str], bytes]:
        behind = http.client.HTTPConnection("127.0.0.1", self._port)
        try:
            headers = {name: value for name, value in handler.headers.items()
                       if name.lower() not in ("connection", "transfer-encoding")}  # fmt: skip
            behind.request(handler.command, handler.path, body, headers)
            response = behind.getresponse()
            content = response.read()
            kept = {name: value for name, value in response.getheaders()
                    if name.lower() not in ("connection", "transfer-encoding", "content-length",
                                            "server", "date")}  # fmt: skip
            if handler.command == "HEAD" and (length := response.getheader("Content-Length")):
                kept["Content-Length"] = length
            return response.status, kept, content
        finally:
            behind.close()


class _Handler(BaseHTTPRequestHandler):
    wbufsize = -1  # else the header and the body are two packets, and the second waits
    server: FaultyServer

    def do_any(self) -> None:
        body = self._body()
        self.server.requests += 1
        headers: dict[str, str] = {}
        if (fault := self.server.fault(self.command, self.path)) is None:
            status, headers, content = self.server.answer(self, body)
            if self.command in ("PUT", "POST") and status < 300:
                self.server.received += len(body)
        else:
            status, content = fault
        if status == 0:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = do_any  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(server: FaultyServer) -> Iterator[None]:
    """Serve while the block runs."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
