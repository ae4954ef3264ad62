"""Puts an alert into the form that an address takes: of Slack, Discord, ntfy, or any other."""

import base64
import json
import secrets
from typing import NamedTuple
from urllib.parse import urlsplit

from attnmon.link.records.alert import Alert, Severity
from attnmon_renderer.insight.notify.attachment import Attachment

_COLORS: dict[Severity, int] = {"info": 0x3B82F6, "warn": 0xF59E0B, "error": 0xDC2626}
_OVER = 0x16A34A
_PRIORITIES: dict[Severity, str] = {"info": "low", "warn": "default", "error": "high"}


class Payload(NamedTuple):
    """What is posted."""

    body: bytes
    headers: dict[str, str]


def payload(address: str, alert: Alert, run: str, picture: Attachment | None = None) -> Payload:
    """Return an alert in the form that this address takes.

    Args:
        run: The run's name.
        picture: goes along; None for words and numbers only. A webhook of Slack takes no files, so
            that the message names it.
    """
    host = (urlsplit(address).hostname or "").lower()
    if host == "hooks.slack.com" or host.endswith(".slack.com"):
        named = f"\nPicture: {picture.name}" if picture else ""
        return _json({"text": f"*{title(alert, run)}*\n{words(alert)}{named}"})
    if host in ("discord.com", "discordapp.com") or host.endswith(".discord.com"):
        return _for_discord(alert, run, picture)
    if "ntfy" in host.split("."):
        return _for_ntfy(alert, run, picture)
    return _json({"run": run, "title": title(alert, run)} | alert.fields() | _in_json(picture))


def title(alert: Alert, run: str) -> str:
    """Return what is said first: "run 7: warn, logit_growth at step 1,200"."""
    state = alert.severity if alert.is_open else "over"
    return f"{run}: {state}, {alert.rule} at step {alert.step:,}"


def words(alert: Alert) -> str:
    """Return what was seen, and what to try while it lasts."""
    return f"{alert.text} {alert.advice}" if alert.is_open else alert.text


def _json(content: object) -> Payload:
    return Payload(json.dumps(content).encode(), {"Content-Type": "application/json"})


def _in_json(picture: Attachment | None) -> dict[str, object]:
    if picture is None:
        return {}
    data = base64.b64encode(picture.content).decode()
    return {"picture": {"name": picture.name, "type": picture.media_type, "data": data}}


def _for_discord(alert: Alert, run: str, picture: Attachment | None) -> Payload:
    color = _COLORS[alert.severity] if alert.is_open else _OVER
    embed = {"title": title(alert, run), "description": words(alert), "color": color}
    if picture is None:
        return _json({"embeds": [embed]})
    if picture.media_type == "image/png":  # others stand below the message
        embed["image"] = {"url": f"attachment://{picture.file_name}"}
    return _form(json.dumps({"embeds": [embed]}), picture)


def _form(content: str, picture: Attachment) -> Payload:
    """Return a form of JSON and a file (RFC 7578), as Discord's webhooks take it."""
    boundary = secrets.token_hex(16)
    disposition = f'Content-Disposition: form-data; name="files[0]"; filename="{picture.file_name}"'
    parts = (
        f"--{boundary}",
        'Content-Disposition: form-data; name="payload_json"',
        "Content-Type: application/json",
        "",
        content,
        f"--{boundary}",
        disposition,
        f"Content-Type: {picture.media_type}",
        "",
        "",
    )
    body = "\r\n".join(parts).encode() + picture.content + f"\r\n--{boundary}--\r\n".encode()
    return Payload(body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})


def _for_ntfy(alert: Alert, run: str, picture: Attachment | None) -> Payload:
    """Return a text, or a file whose text is in a header: the body is either of them."""
    # A header is Latin-1 and one line.
    said = title(alert, run).encode("ascii", "replace").decode().replace("\n", " ")
    priority = _PRIORITIES[alert.severity] if alert.is_open else "low"
    headers = {"Title": said, "Priority": priority}
    if picture is None:
        return Payload(
            words(alert).encode(), headers | {"Content-Type": "text/plain; charset=utf-8"}
        )
    encoded = base64.b64encode(words(alert).encode()).decode()
    return Payload(
        picture.content,
        headers
        | {
            "Message": f"=?UTF-8?B?{encoded}?=",  # RFC 2047
            "Filename": picture.file_name,
            "Content-Type": picture.media_type,
        },
    )
