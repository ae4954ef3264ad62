"""Renderers that start as users' do, by a new interpreter: for faults that the start may meet."""

from collections.abc import Iterator

import pytest
from support.forked_renderer import new_interpreters


@pytest.fixture(scope="module")
def renderers_are_new_interpreters() -> Iterator[None]:
    with new_interpreters():
        yield
