"""What is said of labels that no font can draw."""

from dataclasses import replace

import pytest
from support.no_fonts import no_fonts, only

from attnmon.link.messages import Capture
from attnmon.link.records.run_setup import RenderOptions
from attnmon_renderer.doctor.trial_capture import _capture
from attnmon_renderer.figures.missing_fonts import missing_font_notices

OPTIONS = RenderOptions(pictures=("heatmap",))


def with_tokens(*tokens: str) -> Capture:
    return replace(_capture(), decoder_tokens=tokens)


def test_labels_without_a_font_are_said_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    no_fonts(monkeypatch)
    only(monkeypatch, "apt-get")
    ((kind, text),) = missing_font_notices(OPTIONS, with_tokens("ok", "Ġä½ł", "Ġcat"))
    assert kind == "fonts fonts-noto-cjk"
    assert text.startswith("no font on this machine has 你; ")
    assert "apt-get install fonts-noto-cjk" in text


def test_nothing_is_said_where_all_can_be_read_or_nothing_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    no_fonts(monkeypatch)
    assert missing_font_notices(OPTIONS, with_tokens("ok", "é", "Ġcat")) == ()
    assert missing_font_notices(OPTIONS, with_tokens()) == ()
    assert missing_font_notices(replace(OPTIONS, pictures=()), with_tokens("中")) == ()
