"""The page behind a proxy that has a prefix, and in a frame of a notebook's page."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.browsing import WAIT_MS
from support.outer_server import PREFIX, outer_server
from support.served import Served, served

pytestmark = pytest.mark.browser

NOTEBOOK = '<title>notebook</title><iframe width="900" height="600" src="{}"></iframe>'


@pytest.fixture(scope="module")
def inner() -> list[Served]:
    """The server that the outer one knows of, which has to be there first."""
    return []


@pytest.fixture(scope="module")
def origin(inner: list[Served], browser: object) -> Iterator[str]:
    with outer_server(inner, NOTEBOOK) as origin:
        yield origin


def test_behind_a_prefix_all_addresses_lead_somewhere(
    browser: Any, server: Served, inner: list[Served], origin: str
) -> None:
    inner[:] = [server]
    context = browser.new_context()
    page, failed = context.new_page(), []
    page.on("response", lambda answer: failed.append(answer.url) if answer.status > 399 else None)
    for path in ("/", "/latest"):
        page.goto(f"{origin}{PREFIX}{path}?t={server.token}")
        page.wait_for_selector("attn-map canvas", timeout=WAIT_MS)
        assert urlsplit(page.url).path == PREFIX + path
        assert "t=" not in page.url
    [cookie] = context.cookies()
    assert (cookie["path"], cookie["httpOnly"], cookie["sameSite"]) == (PREFIX, True, "Strict")
    assert failed == []
    context.close()


@pytest.mark.parametrize("is_named", [True, False], ids=["named", "not named"])
def test_a_page_shows_it_in_a_frame_if_it_was_named(
    browser: Any, folder: Path, inner: list[Served], origin: str, is_named: bool
) -> None:
    named = ("--frame-ancestors", origin) if is_named else ()
    with served(folder, "--port", 0, *named) as server:
        inner[:] = [server]
        context = browser.new_context()
        page, said = context.new_page(), []
        page.on("console", lambda message: said.append(message.text))
        page.goto(origin)
        frame = page.wait_for_selector("iframe").content_frame()
        if is_named:
            frame.wait_for_selector("attn-map canvas", timeout=WAIT_MS)
            assert said == []
        else:
            assert frame.query_selector("attn-status") is None
            assert any("frame-ancestors 'none'" in text for text in said)
        context.close()
