"""A server of runs in a process of its own, and a client that follows a run as the page does.

As a program it serves and follows a directory whenever a line of standard input says "on".
"""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


class ViewServer:
    """`attnmon view` of a directory, from its first answer to the end of the block."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "attnmon", "view", str(folder), "--port", "0"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        address = urllib.parse.urlsplit(self._process.stdout.readline().split()[1])
        self._place = address.hostname or "", address.port or 0
        self._token = urllib.parse.parse_qs(address.query)["t"][0]
        self._kept = self._connection()

    def __enter__(self) -> "ViewServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.close()
        self._process.terminate()
        self._process.wait()

    def history(self, run: str) -> int:
        """Ask for all lines of a run's history. Returns their bytes."""
        cursor = 0
        while lines := self.get(f"/api/v1/runs/{run}/history?after={cursor}"):
            cursor += len(lines)
        return cursor

    def get(self, target: str) -> bytes:
        """Ask over the one connection that is kept, as a browser does."""
        try:
            answer, content = self._ask(target)
        except ConnectionError:  # it was closed for being idle
            self._kept.close()
            answer, content = self._ask(target)
        if answer.status == 404:
            raise Gone(target)
        assert answer.status == 200, (target, answer.status, content)
        return content

    def _ask(self, target: str) -> tuple[http.client.HTTPResponse, bytes]:
        self._kept.request("GET", target, headers=self._bearer())
        answer = self._kept.getresponse()
        return answer, answer.read()

    def json(self, target: str) -> Any:
        return json.loads(self.get(target))

    def stream(self) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Open the stream of events; the connection is to be closed."""
        connection = self._connection()
        connection.request("GET", "/api/v1/events", headers=self._bearer())
        return connection, connection.getresponse()

    def cpu_seconds(self) -> float:
        """Return the processor time that it has taken."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def megabytes(self, name: str = "VmRSS") -> float:
        """Return its memory: VmRSS is what it has, VmHWM the most it had."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(rf"{name}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self._place, SECONDS)

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}


def fetch_maps(server: ViewServer, run: str, capture: str) -> int:
    """Fetch what a page shows of a capture: index, all thumbnails, one map. Returns the bytes."""
    address = f"/api/v1/runs/{run}/captures/{capture}"
    index = server.get(address)
    layers = json.loads(index)["layers"]
    thumbs = [server.get(f"{address}/{layer['stem']}/thumbs") for layer in layers]
    shown = [server.get(f"{address}/{each['stem']}/{each['heads'][0]}") for each in layers[-1:]]
    return sum(map(len, [index, *thumbs, *shown]))


class Gone(Exception):
    """A capture was drawn again since it was listed; the next event tells."""


@dataclass
class Follower:
    """Follows the newest run below a directory, in a thread, until it is told to end.

    Args:
        told: Takes the cursor of the history when all of a capture has been fetched.
    """

    server: ViewServer
    told: Callable[[int], None] = lambda cursor: None
    captures: int = 0
    fetched: int = 0
    """Bytes of maps."""
    _stream: tuple[http.client.HTTPConnection, http.client.HTTPResponse] | None = None

    def __enter__(self) -> "Follower":
        self._stream = self.server.stream()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._stream is not None
        self._stream[0].sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._stream[0].close()

    def _follow(self) -> None:
        assert self._stream is not None
        cursors: dict[str, int] = {}
        with suppress(http.client.IncompleteRead):
            while line := self._stream[1].readline():
                if line.startswith(b"data: "):
                    self._take(json.loads(line[6:]), cursors)

    def _take(self, event: dict[str, Any], cursors: dict[str, int]) -> None:
        run, before = event["run"], cursors.get(event["run"], 0)
        document = self.server.json(f"/api/v1/runs/{run}?after={before}")
        self.server.get(f"/api/v1/runs/{run}/history?after={before}")
        with_maps = [row for row in document["captures"] if row["maps"]]
        if event["cursor"] > before and with_maps:
            try:
                self.fetched += fetch_maps(self.server, run, with_maps[-1]["c"])
            except Gone:
                return
            self.captures += 1
            self.told(event["cursor"])
        cursors[run] = event["cursor"]


def main() -> None:
    followers: list[Follower] = []
    with ViewServer(Path(sys.argv[1])) as server, ExitStack() as stack:
        for line in sys.stdin:
            stack.close()  # ends the one before
            if line.strip() == "on":
                followers.append(stack.enter_context(Follower(server)))
            print("ready", flush=True)
    captures = sum(each.captures for each in followers)
    fetched = sum(each.fetched for each in followers)
    print(json.dumps({"followed_captures": captures, "fetched_mb": fetched / 1e6}))


if __name__ == "__main__":
    main()
