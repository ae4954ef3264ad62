"""Messages about alerts, received by a real server; the address is written nowhere."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from attnmon import LightweightAttentionMonitor
from attnmon.link.alert import Alert
from attnmon_renderer.insight.notify.notifier import FAILED
from attnmon_renderer.insight.notify.payloads import payload, title
from attnmon_renderer.insight.notify.sending import HOUR, MOST_AN_HOUR, TRIES, Sender

GROWTH = Alert(
    "g", "logit_growth", "warn", "firing", 1200, "decoder_self", 2, (1,), 212.0, 50.0,
    "It grew to 212.", "Lower the rate.", ("timeline.png",),
)  # fmt: skip
OVER = replace(GROWTH, state="resolved", step=1300, text="It is over.")
SECRET = "T0SECRET"


class Server(HTTPServer):
    """Keeps what was posted, and answers as it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.posted: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[int] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/{SECRET}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Server)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((self.path, dict(self.headers), body))
        answers = self.server.answers
        self.send_response(answers.pop(0) if answers else 200)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def sent_to(address: str, alert: Alert) -> Any:
    return json.loads(payload(address, alert, "run 7").body)


def test_slack_and_discord_get_what_they_show() -> None:
    (text,) = sent_to("https://hooks.slack.com/services/a/b", GROWTH).values()
    assert text == "*run 7: warn, logit_growth at step 1,200*\nIt grew to 212. Lower the rate."
    (embed,) = sent_to("https://discord.com/api/webhooks/1/x", OVER)["embeds"]
    assert (embed["title"], embed["description"]) == (title(OVER, "run 7"), "It is over.")


def test_ntfy_gets_text_and_a_title_in_one_line() -> None:
    sent = payload("https://ntfy.sh/my-topic", replace(GROWTH, severity="error"), "läuft\nhier")
    assert sent.body == b"It grew to 212. Lower the rate."
    assert sent.headers["Title"] == "l?uft hier: error, logit_growth at step 1,200"
    assert sent.headers["Priority"] == "high"


def test_any_other_address_gets_all_fields(server: Server) -> None:
    assert Sender(server.address, "run 7").send(GROWTH) == ""
    ((path, headers, body),) = server.posted
    assert path == f"/services/{SECRET}"
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == {"run": "run 7", "title": title(GROWTH, "run 7")} | GROWTH.fields()


@pytest.mark.parametrize(
    ("answers", "posts", "received"),
    [
        ([500, 429, 200], 3, True),
        ([500] * 5, TRIES, False),
        ([404], 1, False),
        ([302], 1, False),
    ],
)
def test_it_is_tried_three_times_where_that_may_help(
    answers: list[int], posts: int, received: bool, server: Server
) -> None:
    server.answers, paused = [*answers], []
    why = Sender(server.address, "r", pause=paused.append).send(GROWTH)
    assert (len(server.posted), why == "", len(paused)) == (posts, received, posts - 1)
    assert SECRET not in why


def test_a_server_that_is_out_of_reach_is_given_up() -> None:
    why = Sender(f"http://127.0.0.1:1/{SECRET}", "r", pause=lambda _: None).send(GROWTH)
    assert why == "its server is out of reach (URLError)"


def test_ten_messages_an_hour_are_the_most(server: Server) -> None:
    now = 0.0
    sender = Sender(server.address, "r", clock=lambda: now)
    answers = [sender.send(GROWTH) for _ in range(MOST_AN_HOUR + 3)]
    assert [bool(each) for each in answers] == [False] * MOST_AN_HOUR + [True] * 3
    now = HOUR + 1
    assert sender.send(GROWTH) == ""


def wait_for(condition: Callable[[], object]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


def log(monitor: Any, step: int, loss: float) -> None:
    """Logs attention that the user has: the server's thread would forbid an extra forward."""
    monitor.record("layer", weights=torch.full((1, 8, 8), 1 / 8))
    monitor.log_attention(step=step, loss=loss)


def test_a_training_sends_one_message_and_writes_the_address_nowhere(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = server.address
    with LightweightAttentionMonitor(
        tmp_path, notify=address, notify_level="error", config={"notify": address}
    ) as monitor:
        log(monitor, 0, float("nan"))
    (alert,) = monitor.alerts
    wait_for(lambda: server.posted)
    ((_, _, body),) = server.posted
    assert json.loads(body)["text"] == alert.text == "The loss is NaN or infinite."
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert SECRET not in caplog.text


def test_what_is_not_received_is_told_in_the_summary(server: Server, tmp_path: Path) -> None:
    server.answers, summary = [404], tmp_path / "summary.json"
    with LightweightAttentionMonitor(tmp_path, notify=server.address) as monitor:
        log(monitor, 0, float("nan"))
        wait_for(lambda: "was not received" in summary.read_text())
    errors = json.loads(summary.read_text())["errors"]
    assert FAILED.format(why="its server answers 404") in errors
