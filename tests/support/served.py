"""`attnmon view` as a process of its own, asked over real sockets."""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SECONDS = 60


@dataclass
class Served:
    """A server, and what it printed."""

    process: "subprocess.Popen[str]"
    line: str

    @property
    def address(self) -> urllib.parse.SplitResult:
        found = re.search(r"http://\S+", self.line)
        assert found is not None, self.line
        return urllib.parse.urlsplit(found[0])

    @property
    def token(self) -> str:
        return urllib.parse.parse_qs(self.address.query)["t"][0]

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.address.hostname or "", self.address.port, SECONDS)

    def get(self, target: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        """Asks with the token as scripts do, unless other headers are given."""
        with contextlib.closing(self.connection()) as connection:
            bearer = {"Authorization": f"Bearer {self.token}"}
            connection.request("GET", target, headers=headers or bearer)
            response = connection.getresponse()
            return response, response.read()

    def raw(self, content: bytes) -> bytes:
        """Sends bytes, and returns what comes back until the server closes."""
        place = (self.address.hostname, self.address.port)
        with socket.create_connection(place, timeout=SECONDS) as connection:
            connection.sendall(content)
            return b"".join(iter(lambda: connection.recv(1 << 16), b""))

    def end(self, number: signal.Signals) -> None:
        """Has it end, and checks that it does so in silence."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=SECONDS)
        assert (self.process.returncode, errors) == (0, "")


@contextlib.contextmanager
def served(*arguments: object) -> Iterator[Served]:
    """Starts a server, and ends it if nobody has yet."""
    process = start(*arguments)
    assert process.stdout is not None
    try:
        server = Served(process, process.stdout.readline())
        yield server
        if process.poll() is None:
            server.end(signal.SIGINT)
    finally:
        process.kill()
        process.communicate()


def start(*arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "attnmon", "view", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def listening_at(pid: int) -> list[str]:
    """Returns the addresses, in the kernel's spelling, of a process's TCP sockets that listen."""
    folder = Path(f"/proc/{pid}/fd")
    links = {os.readlink(link) for link in folder.iterdir() if link.exists() or link.is_symlink()}
    found = []
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in links:
                found.append(fields[1])
    return found
