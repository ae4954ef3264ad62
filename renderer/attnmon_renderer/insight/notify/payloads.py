"""Puts an alert into the form that an address takes: of Slack, Discord, ntfy, or any other."""

import json
from typing import NamedTuple
from urllib.parse import urlsplit

from attnmon.link.alert import Alert, Severity

_COLORS: dict[Severity, int] = {"info": 0x3B82F6, "warn": 0xF59E0B, "error": 0xDC2626}
_OVER = 0x16A34A
_PRIORITIES: dict[Severity, str] = {"info": "low", "warn": "default", "error": "high"}


class Payload(NamedTuple):
    """What is posted."""

    body: bytes
    headers: dict[str, str]


def payload(address: str, alert: Alert, run: str) -> Payload:
    """Return an alert in the form that this address takes. Numbers and words only, no picture.

    Args:
        run: The run's name.
    """
    host = (urlsplit(address).hostname or "").lower()
    if host == "hooks.slack.com" or host.endswith(".slack.com"):
        return _json({"text": f"*{title(alert, run)}*\n{words(alert)}"})
    if host in ("discord.com", "discordapp.com") or host.endswith(".discord.com"):
        color = _COLORS[alert.severity] if alert.is_open else _OVER
        embed = {"title": title(alert, run), "description": words(alert), "color": color}
        return _json({"embeds": [embed]})
    if "ntfy" in host.split("."):
        return Payload(words(alert).encode(), _ntfy_headers(alert, run))
    return _json({"run": run, "title": title(alert, run)} | alert.fields())


def title(alert: Alert, run: str) -> str:
    """Return what is said first: "run 7: warn, logit_growth at step 1,200"."""
    state = alert.severity if alert.is_open else "over"
    return f"{run}: {state}, {alert.rule} at step {alert.step:,}"


def words(alert: Alert) -> str:
    """Return what was seen, and what to try while it lasts."""
    return f"{alert.text} {alert.advice}" if alert.is_open else alert.text


def _json(content: object) -> Payload:
    return Payload(json.dumps(content).encode(), {"Content-Type": "application/json"})


def _ntfy_headers(alert: Alert, run: str) -> dict[str, str]:
    # A header is Latin-1 and one line.
    said = title(alert, run).encode("ascii", "replace").decode().replace("\n", " ")
    priority = _PRIORITIES[alert.severity] if alert.is_open else "low"
    return {"Title": said, "Priority": priority, "Content-Type": "text/plain; charset=utf-8"}
