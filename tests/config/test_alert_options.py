"""What a user may choose of alerts; the address is never shown."""

from dataclasses import replace
from typing import Any

import pytest

from attnmon.config.alert_options import chosen_rules, notify_address
from attnmon.config.run_config import command_without_secrets, config_json
from attnmon.config.settings import checked_settings
from attnmon.link.records.run_setup import ChosenRule, Notification
from attnmon.options import ALERT_RULES
from attnmon_renderer.insight.rule_table import RULES
from attnmon_renderer.insight.rules.logit_growth import LogitGrowth

ADDRESS = "https://hooks.slack.com/services/T0/B0/secretsecret"


def names(given: Any) -> list[str]:
    return [rule.name for rule in chosen_rules("alerts", given)]


def test_the_names_are_those_of_the_rules() -> None:
    assert list(RULES) == [*ALERT_RULES]
    assert names("default") == names(["default"]) == [*ALERT_RULES]
    assert names([]) == []
    assert names(["nonfinite", "loss_spike", "nonfinite"]) == ["nonfinite", "loss_spike"]


def test_settings_are_given_by_text_or_by_a_rule() -> None:
    (rule,) = chosen_rules("alerts", ["logit_growth.top=80", "logit_growth.patience=3"])
    assert rule == ChosenRule("logit_growth", (("top", 80.0), ("patience", 3.0)))
    (rule,) = chosen_rules("alerts", [LogitGrowth(top=80.0)])
    assert dict(rule.settings)["top"] == 80.0
    changed = chosen_rules("alerts", ["default", "logit_growth.top=80"])
    assert [each for each in changed if each.settings] == [
        ChosenRule("logit_growth", (("top", 80.0),))
    ]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ("logit_growth", TypeError, "give a list"),
        (7, TypeError, "give a list of rules"),
        (["entropy"], ValueError, "unknown 'entropy'"),
        (["logit_growht"], ValueError, "Did you mean 'logit_growth'"),
        (["logit_growth.peak=3"], ValueError, "no setting 'peak'"),
        (["logit_growth.top=high"], ValueError, "give a number"),
        (["logit_growth.top=-1"], ValueError, "from 0 on"),
        ([LogitGrowth], TypeError, "is no rule"),
        ([object()], TypeError, "is no rule"),
    ],
)
def test_mistakes_are_refused_at_construction(
    given: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        chosen_rules("alerts", given)


def test_an_address_is_of_the_web_and_errors_do_not_show_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ATTNMON_NOTIFY", raising=False)
    assert notify_address("notify", None) == ""
    assert notify_address("notify", f" {ADDRESS} ") == ADDRESS
    for wrong in ("secret", "ftp://secret/x", "https://", "http://[secret", b"secret"):
        with pytest.raises((ValueError, TypeError)) as caught:
            notify_address("notify", wrong)
        assert "secret" not in str(caught.value)
    monkeypatch.setenv("ATTNMON_NOTIFY", ADDRESS)
    assert notify_address("notify", None) == ADDRESS
    monkeypatch.setenv("ATTNMON_NOTIFY", "secret")
    with pytest.raises(ValueError, match="ATTNMON_NOTIFY: give an address"):
        notify_address("notify", None)


def test_an_address_is_shown_nowhere() -> None:
    settings = checked_settings(options={"notify": ADDRESS, "rank": 0})
    assert settings.notify == ADDRESS
    assert ADDRESS not in repr(settings)
    assert ADDRESS not in repr(replace(Notification(), address=ADDRESS))
    shown = command_without_secrets(["train.py", "--notify", ADDRESS, f"--webhook-url={ADDRESS}"])
    assert ADDRESS not in str(shown)
    assert ADDRESS not in config_json("config", {"notify": ADDRESS, "slack_webhook": ADDRESS})
