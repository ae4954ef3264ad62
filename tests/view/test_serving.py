"""`attnmon view` as people start it: a process, sockets, and its end."""

import contextlib
import http.client
import json
import os
import platform
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support.maps import capture_record, random_weights, write_run
from support.served import SECONDS, Served, listening_at, served

from attnmon_renderer.commands import main, view
from attnmon_renderer.view.access import LOOPBACK, host_names
from attnmon_renderer.view.listening import PORT, listen_at_port, listening_at_path
from attnmon_renderer.view.serving import ViewRequest, address_of

LAYERS = {"decoder_layer0_self_attn": random_weights(2, 4, 4)}
ANOTHER_USER = 65534


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", {1: LAYERS}, state="running")


def test_a_run_is_followed_over_a_socket_of_this_machine_alone(run: Path) -> None:
    with served(run, "--port", 0) as server:
        assert server.line == f"attnmon: {server.address.geturl()}\n"
        assert server.line.startswith("attnmon: http://127.0.0.1:")
        [place] = listening_at(server.process.pid)
        assert place == f"0100007F:{server.address.port:04X}"
        the_page_is_opened_by_a_cookie(server)
        refused_whatever_is_sent(server)
        an_event_for_a_line(server, run)


def the_page_is_opened_by_a_cookie(server: Served) -> None:
    """Opens the printed address as a browser does."""
    moved, _ = server.get(f"/?{server.address.query}", Accept="text/html")
    assert (moved.status, moved.headers["Location"]) == (303, "./")
    cookie = moved.headers["Set-Cookie"].partition(";")[0]
    page, _ = server.get("/", Cookie=cookie)
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert server.get("/", Accept="text/html")[0].status == 403


def refused_whatever_is_sent(server: Served) -> None:
    bearer = f"Authorization: Bearer {server.token}\r\nConnection: close\r\n"
    for request in (
        f"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n{bearer}",
        f"GET / HTTP/1.0\r\n{bearer}",
        f"GET / HTTP/1.1\r\nHost: evil.com\r\n{bearer}",
        f"GET http://evil.com/ HTTP/1.1\r\nHost: evil.com\r\n{bearer}",
        f"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n{bearer}",
        f"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: YQ==\r\n{bearer}",
        f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{bearer}",
        "\0\0\0",
    ):
        answer = server.raw(request.encode() + b"\r\n")
        assert answer.split(b" ")[1] in (b"400", b"403", b"404", b"405"), (request, answer)
        assert b"doctype" not in answer


def an_event_for_a_line(server: Served, run: Path) -> None:
    """Adds a line to the history, and ends the server while a stream is open."""
    with contextlib.closing(server.connection()) as connection:
        connection.request(
            "GET", "/api/v1/events", headers={"Authorization": f"Bearer {server.token}"}
        )
        stream = connection.getresponse()
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        first = next_event(stream)
        assert server.get(f"/api/v1/runs/{first['run']}")[0].status == 200
        with open(run / "history.jsonl", "a") as history:
            history.write(json.dumps(capture_record(2, LAYERS, 0.5)) + "\n")
            size = history.tell()
        while (event := next_event(stream))["cursor"] < size:
            assert event["state"] == "running"
        assert event == {"run": first["run"], "cursor": size, "state": "running"}
        server.end(signal.SIGTERM)
        assert stream.read().count(b"data") <= 1, "the stream has ended"


def next_event(stream: http.client.HTTPResponse) -> dict[str, object]:
    while not (line := stream.readline()).startswith(b"data: "):
        assert line
    return dict(json.loads(line.removeprefix(b"data: ")))


def test_a_socket_in_the_file_system_is_its_owner_s(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "view.sock"
    with served(run, "--uds", path) as server:
        assert server.line.startswith("attnmon: http://localhost:6061/?t=")
        assert f"ssh -L 6061:{path} " in server.line
        assert listening_at(server.process.pid) == []
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert answer_at(path, server.token).startswith(b"HTTP/1.1 200 ")
        assert answer_at(path, "x").startswith(b"HTTP/1.1 403 ")
        assert another_user_is_let_in(path) is not True
    assert not path.exists()


def answer_at(path: Path, token: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(SECONDS)
        asking.connect(str(path))
        bearer = f"Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        asking.sendall(f"GET /api/v1/runs HTTP/1.1\r\nHost: localhost:7007\r\n{bearer}".encode())
        return b"".join(iter(lambda: asking.recv(1 << 16), b""))


def another_user_is_let_in(path: Path) -> bool | None:
    """Whether a process of another user can connect; None where we cannot start one."""
    if os.geteuid() != 0:
        return None
    connect = "import os, socket, sys; os.setgid({0}); os.setuid({0}); "
    connect += "socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    for folder in path.parents[:2]:
        folder.chmod(0o755)
    asked = subprocess.run(
        [sys.executable, "-c", connect.format(ANOTHER_USER), path.name],
        cwd=path.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert asked.returncode == 0 or "PermissionError" in asked.stderr, asked.stderr
    return asked.returncode == 0


def test_what_is_in_the_place_of_a_socket_stays_unless_it_is_an_abandoned_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "view.sock"
    with listening_at_path(path):
        with pytest.raises(OSError, match="in use"), listening_at_path(path):
            pass
        assert stat.S_ISSOCK(path.stat().st_mode)
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(path))
    with listening_at_path(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("mine")
    with pytest.raises(OSError, match="in use"), listening_at_path(path):
        pass
    assert path.read_text() == "mine"


def test_the_next_port_is_taken_if_the_usual_one_is_in_use() -> None:
    with contextlib.ExitStack() as stack:
        found = [
            stack.enter_context(contextlib.closing(listen_at_port("127.0.0.1", None)))
            for _ in range(2)
        ]
        first, second = (each.getsockname()[1] for each in found)
        assert PORT <= first < second
        with socket.create_connection(("127.0.0.1", first)), found[0].accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), "no body waits"
        with pytest.raises(OSError, match="in use"):
            listen_at_port("127.0.0.1", second)


def test_what_cannot_be_shown_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments, why in (
        ([str(tmp_path / "absent")], "there is no directory"),
        ([str(tmp_path), "--allow-host", "http://x"], "no name of a host"),
        ([str(tmp_path), "--frame-ancestors", "x"], "no origin"),
        ([str(tmp_path), "--uds", str(tmp_path / "x" / "y")], "No such file"),
    ):
        assert main(["view", *arguments]) == 2
        assert capsys.readouterr().err.startswith("attnmon view: ")
        assert main(["view", *arguments]) == 2
        assert why in capsys.readouterr().err
    monkeypatch.setattr(view, "NEEDED", ("starlette", "no_such_library"))
    assert main(["view", str(tmp_path)]) == 2
    assert 'no_such_library not installed: pip install "attnmon[view]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("request_", "port", "address", "hint"),
    [
        (ViewRequest([]), 6061, "http://127.0.0.1:6061/?t=x", ""),
        (ViewRequest([]), 6062, "http://127.0.0.1:6062/?t=x", "port 6061 is taken"),
        (ViewRequest([], port=7000), 7000, "http://127.0.0.1:7000/?t=x", ""),
        (ViewRequest([], host="::1"), 6061, "http://[::1]:6061/?t=x", ""),
        (
            ViewRequest([], host="10.0.0.5"), 6061, "http://10.0.0.5:6061/?t=x",
            "not encrypted: whoever is between can read",
        ),
    ],
)  # fmt: skip
def test_the_line_says_what_is_unusual(
    request_: ViewRequest, port: int, address: str, hint: str
) -> None:
    assert address_of(request_, port, "x") == (address, hint)


def test_other_hosts_are_those_that_were_named() -> None:
    own = platform.node().lower()
    assert host_names("127.0.0.1", []) == set(LOOPBACK)
    assert host_names("0.0.0.0", ["Hub.example.org"]) == {*LOOPBACK, own, "hub.example.org"}
    assert host_names("fd00::1", []) == {*LOOPBACK, "[fd00::1]"}
