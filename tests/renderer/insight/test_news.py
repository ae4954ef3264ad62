"""Few messages, however much goes wrong at once."""

from dataclasses import replace

from attnmon.link.records.alert import Alert
from attnmon.options import ALERT_RULES
from attnmon_renderer.insight.news import FAMILIES, News

GROWTH = Alert("g0", "logit_growth", "warn", "firing", 10)
MORE = replace(GROWTH, id="g1")
COLLAPSE = Alert("c0", "attention_collapse", "warn", "firing", 12)
WORSE = replace(COLLAPSE, severity="error", step=14)
MINOR = Alert("h", "logit_high", "info", "firing", 9)
BROKEN = Alert("n", "nonfinite", "error", "firing", 20)


def over(alert: Alert) -> Alert:
    return replace(alert, state="resolved", step=30)


def test_that_it_begins_gets_worse_and_is_over_is_news() -> None:
    news = News("warn")
    assert news.of([MINOR, GROWTH, MORE, COLLAPSE]) == [GROWTH]
    assert news.of([WORSE, MORE]) == [WORSE]
    assert news.of([over(GROWTH), over(MORE)]) == []
    assert news.of([over(WORSE)]) == [over(WORSE)]
    assert news.of([GROWTH]) == [GROWTH]


def test_other_trouble_is_other_news() -> None:
    news = News("warn")
    assert news.of([GROWTH, BROKEN]) == [GROWTH, BROKEN]
    assert news.of([over(BROKEN)]) == [over(BROKEN)]
    assert FAMILIES.keys() < {*ALERT_RULES}


def test_below_the_level_nothing_is_told() -> None:
    assert News("error").of([GROWTH, over(GROWTH)]) == []
    assert News("info").of([MINOR]) == [MINOR]
