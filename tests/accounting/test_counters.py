"""One record of counters: what is sent and what the user sees follow from it."""

import time
from dataclasses import fields

import pytest

from attnmon.accounting.counters import Counters
from attnmon.link.messages import Goodbye, decode, encode
from attnmon.link.records.schema import MessageError
from attnmon.link.records.training_accounts import LONGEST_ERROR, Accounts


def test_a_message_is_a_copy_of_all_that_was_counted() -> None:
    counters = Counters(captured=3, dropped=1, failed=1, error="why", last_step=7, rendered=9)
    sent = counters.as_message(backlog=2)
    counters.captured += 1
    assert type(sent) is Accounts
    assert (sent.captured, sent.last_step, sent.error, sent.backlog) == (3, 7, "why", 2)
    assert decode(encode(Goodbye(sent))) == Goodbye(sent)


def test_every_field_that_is_sent_is_counted_under_the_same_name() -> None:
    numbers = {field.name: index for index, field in enumerate(fields(Accounts))}
    sent = Counters(**{**numbers, "error": "e"}).as_message(backlog=numbers["backlog"])  # type: ignore[arg-type]
    assert sent == Accounts(**{**numbers, "error": "e"})  # type: ignore[arg-type]


def test_what_the_user_sees_adds_up_on_both_sides() -> None:
    counters = Counters(captured=9, dropped=1, failed=2, rendered=4, failed_in_renderer=2)
    figures = counters.all_figures()
    assert figures["failed"] == 4
    assert figures["captured"] == sum(figures[name] for name in ("rendered", "dropped", "failed"))
    assert figures == counters.as_message(0).figures(rendered=4, failed_in_renderer=2)


def test_an_error_too_long_for_a_message_is_refused() -> None:
    counters = Counters()
    counters.error = "x" * (LONGEST_ERROR + 1)
    with pytest.raises(MessageError, match="error"):
        counters.as_message(0)


def test_nested_blocks_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((0.0, 1.0, 3.0, 6.0, 10.0, 11.0))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    counters = Counters()
    with counters.timed(), counters.timed():
        pass
    assert counters.hook_seconds == 6.0, "the inner two seconds are within the outer six"
    with counters.timed():
        pass
    assert counters.hook_seconds == 7.0


def test_what_drawing_takes_at_present_is_a_running_mean_and_ends_with_the_competition() -> None:
    counters = Counters()
    counters.add_competed(0.0)
    assert counters.drawing_each == 0.0
    counters.add_competed(0.2)
    assert counters.drawing_each == 0.2, "the first one is not mixed with none"
    counters.add_competed(0.4)
    assert 0.2 < counters.drawing_each < 0.3
    for _ in range(20):
        counters.add_competed(0.0)
    assert counters.drawing_each < 0.001
    assert counters.competed_seconds == pytest.approx(0.6)
