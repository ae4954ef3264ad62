"""The front door is documented: each parameter and option, with its true default."""

import ast
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
from support.forked_script import run_file
from support.project import SCRIPTS

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
from attnmon.config.option_table import OPTIONS
from attnmon.integrations import lightning
from attnmon.monitor import AttentionMonitor
from attnmon.options import CallbackSettings, Options

METHODS = [
    AttentionMonitor.log_attention, AttentionMonitor.record, AttentionMonitor.attach,
    AttentionMonitor.detach, AttentionMonitor.capture, AttentionMonitor.capture_next,
    AttentionMonitor.dump, AttentionMonitor.coverage, AttentionMonitor.enable,
    AttentionMonitor.disable, AttentionMonitor.close,
]  # fmt: skip


def documented(docstring: str) -> dict[str, str]:
    """Of each name in the `Args` section, in one line: its type, effect and default."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", docstring, re.MULTILINE | re.DOTALL)
    entries = re.findall(
        r"^    (\**\w+)(.*?)(?=^    \S|\Z)", section[1] if section else "", re.MULTILINE | re.DOTALL
    )
    return {name.lstrip("*"): " ".join(text.split()) for name, text in entries}


def mistakes(docstring: str, defaults: dict[str, Any]) -> list[str]:
    """Names that are missing, or have no type, or no or another default than the true one."""
    entries, found = documented(docstring), []
    for name, default in defaults.items():
        entry = entries.get(name, "")
        stated = re.search(r"Default: (.*)\.$", entry)
        if default is inspect.Parameter.empty:
            well = stated is None
        else:
            well = stated is not None and ast.literal_eval(stated[1]) == default
        if not (well and re.match(r"\(.+?\): \S", entry)):
            found.append(f"{name}: {entry or 'missing'}")
    return found


def listed(entry: str) -> dict[str, Any]:
    """Names and values of an entry that ends with `name=value, …`."""
    call = ast.parse(f"f({entry.rpartition(': ')[2].rstrip('.')})", mode="eval").body
    assert isinstance(call, ast.Call)
    return {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}


def parameters(of: Callable[..., Any]) -> dict[str, Any]:
    own = inspect.signature(of).parameters.values()
    return {
        each.name: each.default
        for each in own
        if each.name != "self" and each.kind is not each.VAR_KEYWORD
    }


def defaults(names: Any) -> dict[str, Any]:
    return {name: OPTIONS[name].default for name in names}


def test_a_missing_name_and_a_false_default_are_noticed() -> None:
    docstring = "Say it.\n\nArgs:\n    one (int): It. Default: 1.\n    two: It.\n\nRaises:\n    No."
    true = {"one": 1}
    assert mistakes(docstring, true) == []
    assert mistakes(docstring, {"one": 2}) == ["one: (int): It. Default: 1."]
    assert mistakes(docstring, {"three": 3}) == ["three: missing"]
    assert mistakes(docstring, {"two": inspect.Parameter.empty}) == ["two: : It."]
    for name in OPTIONS:
        without = re.sub(rf"^    {name} \(", "    other (", full_docstring(), flags=re.MULTILINE)
        assert mistakes(without, defaults(OPTIONS)) == [f"{name}: missing"]


def full_docstring() -> str:
    return inspect.getdoc(TrainingAttentionMonitor) or ""


def test_the_monitor_that_draws_documents_every_option() -> None:
    assert mistakes(full_docstring(), defaults(OPTIONS)) == []


def test_the_lightweight_monitor_documents_its_parameters_and_lists_the_options() -> None:
    docstring = inspect.getdoc(LightweightAttentionMonitor) or ""
    assert mistakes(docstring, parameters(LightweightAttentionMonitor)) == []
    assert listed(documented(docstring)["options"]) == defaults(Options.__annotations__)


def callback_classes() -> list[Any]:
    huggingface = pytest.importorskip("attnmon.integrations.huggingface", exc_type=ImportError)
    return [huggingface.AttentionCallback, lightning.AttentionCallback]


def test_the_callbacks_document_their_directory_and_list_the_options() -> None:
    for callback in callback_classes():
        docstring = inspect.getdoc(callback) or ""
        assert mistakes(docstring, {"save_dir": None}) == []
        names = [name for name in OPTIONS if name in CallbackSettings.__annotations__]
        assert listed(documented(docstring)["settings"]) == defaults(names)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.__name__))
def test_each_call_documents_its_parameters_and_what_it_raises(method: Any) -> None:
    docstring = inspect.getdoc(method) or ""
    assert mistakes(docstring, parameters(method)) == []
    assert re.search(r"^Raises:|Never raises", docstring, re.MULTILINE)


def test_guide_and_docstrings_have_the_table_s_words() -> None:
    pytest.importorskip("transformers")
    ran = run_file(SCRIPTS / "write_option_docs.py", "--check")
    assert (ran.returncode, ran.stdout) == (0, ""), "make option-docs renews them"
