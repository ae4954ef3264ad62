"""Renderers start here as users' do, by a new interpreter: a fault may be anywhere in it."""

from collections.abc import Iterator

import pytest
from support.forked_renderer import new_interpreters


@pytest.fixture(scope="module", autouse=True)
def renderers_are_new_interpreters() -> Iterator[None]:
    with new_interpreters():
        yield
