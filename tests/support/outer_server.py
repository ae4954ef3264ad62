"""A server that others have before, or around, that of `attnmon view`."""

import contextlib
import http.client
import http.server
import threading
from collections.abc import Iterator

from support.served import Served

PREFIX = "/user/somebody/proxy/6061"


@contextlib.contextmanager
def outer_server(inner: list[Served], page: str) -> Iterator[str]:
    """Serves a page, and below a prefix, which it takes off, what `inner[0]` does.

    Gives its origin. `{}` in the page stands for the address that the inner one has printed.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith(PREFIX):
                self._pass_on(inner[0], self.path.removeprefix(PREFIX))
                return
            body = page.format(inner[0].address.geturl()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def _pass_on(self, server: Served, target: str) -> None:
            with contextlib.closing(server.connection()) as connection:
                connection.putrequest("GET", target, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders()
                answer = connection.getresponse()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError, http.client.HTTPException):  # one has ended
                    while part := answer.read1(1 << 16):
                        self.wfile.write(part)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
