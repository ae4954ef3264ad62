"""Nobody gets an answer without the token, from another host, or from another origin."""

from pathlib import Path
from typing import Any

import pytest
from support.asgi import run_apart, scope_of
from support.maps import random_weights, write_run
from support.viewing import Viewed

from attnmon_renderer.view.access import frame_ancestor
from attnmon_renderer.view.application import EVENTS, ROUTES

METHODS = ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "X")
STEM = "decoder_layer0_self_attn"
HOSTS = (
    "evil.com", "127.0.0.1.evil.com", "localhost.evil", "localhost.", "127.0.0.1.", "", "[::2]",
    "127.0.0.2", "0.0.0.0", "127.1", "2130706433", "localhost:", "localhost:x", "localhost:6061:1",
    "user@localhost", "localhost/", "localhost evil.com", "xlocalhost", "[::1",
    "127.0.0.1,evil.com", "[::1]evil", "localhost:1234567",
)  # fmt: skip


@pytest.fixture(scope="module")
def viewed(tmp_path_factory: pytest.TempPathFactory) -> Viewed:
    folder = tmp_path_factory.mktemp("run")
    return Viewed([write_run(folder, {1: {STEM: random_weights(2, 4, 4)}})])


@pytest.fixture(scope="module")
def addresses(viewed: Viewed) -> list[str]:
    """An address of each route, and of none."""
    run, capture = viewed.only_run(), viewed.captures()[1]
    names = {
        "{run}": run.rpartition("/")[2], "{capture}": capture.rpartition("/")[2], "{layer}": STEM,
        "{head}": "1", "{name}": "x.png", "{name:path}": "index.html", "{digest}": "0",
    }  # fmt: skip
    return [*(filled(route, names) for route in ROUTES), EVENTS, "/no/such/route"]


def filled(route: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        route = route.replace(name, value)
    return route


def test_without_the_token_every_address_is_forbidden(viewed: Viewed, addresses: list[str]) -> None:
    cookie = viewed.access.cookie
    for address in addresses:
        for method in ("GET", "HEAD"):
            assert viewed.stranger(address, method).status == 403
        assert viewed.stranger(address + "?t=").status == 403
        assert viewed.stranger(address + f"?t={viewed.access.token[:-1]}").status == 403
        assert viewed.stranger(address, authorization="Bearer").status == 403
        assert viewed.stranger(address, authorization=f"Basic {viewed.access.token}").status == 403
        assert viewed.stranger(address, cookie=f"{cookie}={'a' * 43}").status == 403
        assert viewed.stranger(address, cookie=f"x{cookie}={viewed.access.token}").status == 403


def test_the_token_is_known_to_nobody_by_chance() -> None:
    tokens = {Viewed([]).access.token for _ in range(3)}
    assert len(tokens) == 3
    assert all(len(token) >= 43 for token in tokens), "256 bits, six in each character"
    access = Viewed([]).access
    assert access.token not in repr(access)


def test_the_token_leaves_the_address_for_a_cookie(viewed: Viewed) -> None:
    token, cookie = viewed.access.token, viewed.access.cookie
    moved = viewed.stranger(f"/?run=a%26b&t={token}&c=1")
    assert (moved.status, moved.headers["location"]) == (303, "./?run=a%26b&c=1")
    assert viewed.stranger(f"/latest?t={token}").headers["location"] == "./latest"
    assert moved.headers["referrer-policy"] == "no-referrer"
    assert moved.headers["cache-control"] == "no-store"
    name, *attributes = moved.headers["set-cookie"].split("; ")
    assert name == f"{cookie}={token}"
    assert "6061" in cookie
    assert set(attributes) == {"HttpOnly", "SameSite=Strict"}
    assert viewed.stranger("/", cookie=f"other=1; {cookie}={token}").status == 200


@pytest.mark.parametrize("host", HOSTS)
def test_another_host_is_forbidden(viewed: Viewed, addresses: list[str], host: str) -> None:
    for address in addresses:
        assert viewed.ask(address, host=host).status == 403


def test_a_request_with_two_hosts_or_none_is_forbidden(viewed: Viewed) -> None:
    bearer = ("authorization", f"Bearer {viewed.access.token}")
    for hosts in ([], ["localhost", "localhost"], ["localhost", "evil.com"]):
        headers = [("host", host) for host in hosts]
        assert viewed.ask.send(scope_of("/", "GET", [*headers, bearer])).status == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:6061", "LOCALHOST:7007", "[::1]:6061"])
def test_this_machine_s_own_names_are_answered(viewed: Viewed, host: str) -> None:
    assert viewed.ask("/api/v1/runs", host=host).status == 200


@pytest.mark.parametrize("method", METHODS)
def test_other_methods_are_not_allowed(viewed: Viewed, addresses: list[str], method: str) -> None:
    for address in addresses:
        for asking in (viewed.ask, viewed.stranger):
            answer = asking(address, method)
            assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_pages_of_other_origins_are_forbidden(viewed: Viewed, addresses: list[str]) -> None:
    for address in addresses:
        for site in ("cross-site", "same-site", "SAME-ORIGIN", "x"):
            assert viewed.ask(address, sec_fetch_site=site).status == 403
            frame = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"}
            assert viewed.ask(address, sec_fetch_site=site, **frame).status == 403
        for origin in ("null", "http://evil.com", "http://127.0.0.1:9999", "http://127.0.0.1"):
            assert viewed.ask(address, origin=origin).status == 403
        assert "access-control-allow-origin" not in viewed.ask(address, "HEAD").headers
    assert viewed.ask("/", sec_fetch_site="same-origin").status == 200
    assert viewed.ask("/", origin="http://127.0.0.1:6061").status == 200


def test_a_link_of_another_port_opens_the_page_and_shows_it_in_no_frame(viewed: Viewed) -> None:
    opened = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert viewed.ask("/", sec_fetch_site="same-site", **opened).status == 200
    assert viewed.ask("/", sec_fetch_site="cross-site", **opened).status == 403
    assert "frame-ancestors 'none'" in viewed.ask("/").headers["content-security-policy"]


def test_a_notebook_s_origin_may_be_let_in(tmp_path: Path) -> None:
    viewed = Viewed([tmp_path], frame_ancestors=(frame_ancestor("http://localhost:8888"),))
    framed = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"}
    answer = viewed.ask("/", sec_fetch_site="same-site", **framed)
    assert answer.status == 200
    assert answer.headers["content-security-policy"].endswith(
        "; frame-ancestors http://localhost:8888"
    )
    assert viewed.ask("/api/v1/runs", sec_fetch_site="same-site").status == 403


@pytest.mark.parametrize("origin", ["*", "localhost", "http://a b", "http://a;x", "http://a/", ""])
def test_what_is_no_origin_may_show_nothing(origin: str) -> None:
    with pytest.raises(ValueError, match="no origin"):
        frame_ancestor(origin)


def test_web_sockets_are_closed(viewed: Viewed) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    headers = [("host", "localhost"), ("authorization", f"Bearer {viewed.access.token}")]
    scope = {**scope_of("/api/v1/events", "GET", headers), "type": "websocket"}
    run_apart(viewed.application(scope, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert viewed.ask("/", upgrade="websocket").status == 403


def test_every_answer_tells_the_browser_to_be_careful(viewed: Viewed, addresses: list[str]) -> None:
    for asking in (viewed.ask, viewed.stranger):
        for address in addresses:
            headers = asking(address, "HEAD").headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            policy = headers["content-security-policy"].split("; ")
            assert {"default-src 'none'", "frame-ancestors 'none'"} <= set(policy)
            assert not any("unsafe" in rule for rule in policy)
            assert "require-trusted-types-for 'script'" in policy
