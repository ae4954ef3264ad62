"""The table of options: signatures, types and checked settings agree with it."""

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
from attnmon.config.option_table import OPTIONS
from attnmon.config.settings import Settings, checked_settings
from attnmon.options import CallbackSettings, Options


def signature_defaults(monitor: Any) -> dict[str, Any]:
    """Names and defaults of the options that a monitor's signature names."""
    parameters = inspect.signature(monitor).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is not each.VAR_KEYWORD}


def test_each_option_is_a_parameter_or_a_keyword() -> None:
    by_position = tuple(signature_defaults(TrainingAttentionMonitor))
    assert (*by_position, *Options.__annotations__) == tuple(OPTIONS), "and in the same order"


def test_settings_are_the_options_and_what_is_found_out() -> None:
    assert {each.name for each in fields(Settings)} == {*OPTIONS, "world_size"}


@pytest.mark.parametrize("name", signature_defaults(TrainingAttentionMonitor))
def test_the_signature_has_the_table_s_default(name: str) -> None:
    assert signature_defaults(TrainingAttentionMonitor)[name] == OPTIONS[name].default


def test_the_lightweight_monitor_differs_in_two_defaults() -> None:
    defaults = signature_defaults(LightweightAttentionMonitor)
    differing = {name: value for name, value in defaults.items() if value != OPTIONS[name].default}
    assert differing == {"save_frequency": 50, "layers_to_visualize": None}


def test_a_callback_takes_what_the_monitor_takes() -> None:
    hints = get_type_hints(TrainingAttentionMonitor.__init__)
    by_position = {name: hints[name] for name in signature_defaults(TrainingAttentionMonitor)}
    del by_position["save_dir"]  # a callback has a default of its own
    assert get_type_hints(CallbackSettings) == by_position | get_type_hints(Options)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_default_passes_its_own_check_and_each_option_has_words(name: str) -> None:
    option = OPTIONS[name]
    option.check(name, option.default)
    assert option.summary.endswith(".")
    assert "|" not in option.summary, "it would end a cell of the guide's table"


def test_what_is_not_given_has_the_table_s_default(tmp_path: Path) -> None:
    settings = checked_settings(save_dir=tmp_path, options={"keep_last": 3})
    assert (settings.save_dir, settings.keep_last) == (tmp_path, 3)
    others = OPTIONS.keys() - {"save_dir", "keep_last", "rank"}
    for name in others:
        assert getattr(settings, name) == OPTIONS[name].check(name, OPTIONS[name].default)
