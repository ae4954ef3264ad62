"""Messages about alerts, received by a real server; the address is written nowhere."""

import base64
import email
import email.header
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
from attnmon.link.records.alert import Alert
from attnmon_renderer.insight.notify import attachment
from attnmon_renderer.insight.notify.attachment import Attachment, read_attachment
from attnmon_renderer.insight.notify.notifier import FAILED
from attnmon_renderer.insight.notify.payloads import payload, title
from attnmon_renderer.insight.notify.sending import HOUR, MOST_AN_HOUR, TRIES, Sender

GROWTH = Alert(
    "g", "logit_growth", "warn", "firing", 1200, "decoder_self", 2, (1,), 212.0, 50.0,
    "It grew to 212.", "Lower the rate.", ("timeline.png",),
)  # fmt: skip
OVER = replace(GROWTH, state="resolved", step=1300, text="It is over.")
SECRET = "T0SECRET"
PICTURE = Attachment("step_1200.zip/decoder_layer2_self_attn.png", b"\x89PNG\r\n\x00--")
FILE_NAME = "step_1200_decoder_layer2_self_attn.png"


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


def test_discord_gets_the_picture_in_a_form_and_shows_it_in_the_message() -> None:
    body, headers = payload("https://discord.com/api/webhooks/1/x", GROWTH, "run 7", PICTURE)
    form = email.message_from_bytes(f"Content-Type: {headers['Content-Type']}\n\n".encode() + body)
    words, file = form.get_payload()
    (embed,) = json.loads(words.get_payload())["embeds"]
    assert words.get_param("name", header="Content-Disposition") == "payload_json"
    assert file.get_param("name", header="Content-Disposition") == "files[0]"
    assert embed["image"]["url"] == f"attachment://{file.get_filename()}"
    assert (file.get_filename(), file.get_content_type()) == (FILE_NAME, "image/png")
    assert body.count(PICTURE.content) == 1


def test_ntfy_gets_the_picture_as_a_file_and_the_text_beside_it() -> None:
    told = replace(GROWTH, text="It grew – to 212.")
    body, headers = payload("https://ntfy.example/my-topic", told, "run 7", PICTURE)
    assert (body, headers["Filename"]) == (PICTURE.content, FILE_NAME)
    ((text, charset),) = email.header.decode_header(headers["Message"])
    assert str(text, charset) == "It grew – to 212. Lower the rate."


def test_slack_gets_the_name_of_the_picture_and_others_get_it_in_base64() -> None:
    slack = "https://hooks.slack.com/services/a/b"
    text = json.loads(payload(slack, GROWTH, "run 7", PICTURE).body)["text"]
    assert text.endswith("Lower the rate.\nPicture: step_1200.zip/decoder_layer2_self_attn.png")
    sent = json.loads(payload("https://example.org", GROWTH, "run 7", PICTURE).body)["picture"]
    assert base64.b64decode(sent.pop("data")) == PICTURE.content
    assert sent == {"name": PICTURE.name, "type": "image/png"}


def test_the_first_picture_that_is_there_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("timeline.png", "step_1.zip/a.png", "step_1/b.png")
    alert = replace(GROWTH, pictures=names)
    assert read_attachment(tmp_path, alert) is None
    (tmp_path / "step_1").mkdir()
    (tmp_path / "step_1" / "b.png").write_bytes(b"b")
    assert read_attachment(tmp_path, alert) == ("step_1/b.png", b"b")
    with zipfile.ZipFile(tmp_path / "step_1.zip", "w") as pack:
        pack.writestr("a.png", b"aa")
    assert read_attachment(tmp_path, alert) == ("step_1.zip/a.png", b"aa")
    monkeypatch.setattr(attachment, "MOST_BYTES", 1)
    assert read_attachment(tmp_path, alert) == ("step_1/b.png", b"b")
    (tmp_path / "timeline.png").symlink_to("step_1/b.png")
    assert read_attachment(tmp_path, alert) == ("step_1/b.png", b"b")


def test_a_message_that_is_refused_with_its_picture_is_sent_without(server: Server) -> None:
    server.answers = [413]
    assert Sender(server.address, "r", pause=lambda _: None).send(GROWTH, PICTURE) == ""
    bodies = [json.loads(body) for _, _, body in server.posted]
    assert ["picture" in body for body in bodies] == [True, False]


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


def test_a_training_sends_the_picture_that_was_drawn_where_that_was_asked_for(
    server: Server, tmp_path: Path
) -> None:
    with TrainingAttentionMonitor(
        tmp_path, notify=server.address, notify_pictures=True, use_tensorboard=False
    ) as monitor:
        monitor.record("layer", weights=torch.full((1, 8, 8), float("nan")))
        monitor.log_attention(step=0)
    wait_for(lambda: server.posted)
    ((_, _, body),) = server.posted
    sent = json.loads(body)["picture"]
    drawn = (tmp_path / sent["name"]).read_bytes()
    assert sent["name"] == "step_0/encoder_layer0_self_attn.png"
    assert base64.b64decode(sent["data"]) == drawn


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
