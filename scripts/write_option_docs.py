"""Writes the words of the option table into the guide and into the docstrings of the front door.

python scripts/write_option_docs.py           # after a change of attnmon/config/option_table.py
python scripts/write_option_docs.py --check   # exit code 1, and the files' names, if one is stale
"""

import argparse
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
from attnmon.config.option_table import OPTIONS
from attnmon.integrations import huggingface, lightning
from attnmon.options import CallbackSettings, Options

GUIDE = Path(__file__).parents[1] / "docs" / "guide.md"
KEYWORD_ONLY = tuple(Options.__annotations__)
BY_POSITION = tuple(name for name in OPTIONS if name not in KEYWORD_ONLY)
WIDTH = 100


def type_text(hint: Any) -> str:
    """Return a type as a user would write it, with the values of a `Literal` spelled out."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " | ".join(map(type_text, args))
    if origin is Literal:
        return " | ".join(map(value_text, args))
    if args and isinstance(args[0], list):
        return f"Callable[[{', '.join(map(type_text, args[0]))}], {type_text(args[1])}]"
    if args:
        return f"{origin.__name__}[{', '.join(map(type_text, args))}]"
    special = {NoneType: "None", Ellipsis: "..."}
    return special[hint] if hint in special else str(hint.__name__)


def value_text(value: Any) -> str:
    return repr(value).replace("'", '"')


def defaults_of(constructor: Any) -> dict[str, Any]:
    """Return the default of each option that the signature of a class names."""
    parameters = inspect.signature(constructor.__init__).parameters
    return {name: parameters[name].default for name in OPTIONS if name in parameters}


def argument(name: str, hint: Any, default: Any, summary: str) -> str:
    """Return one entry of an `Args` section; links become the guide's headings."""
    plain = re.sub(r"\[([^]]+)\]\(#[^)]+\)", r'"\1" in docs/guide.md', summary)
    return wrapped(f"{name} ({type_text(hint)}): {plain} Default: {value_text(default)}.")


def other_options(introduction: str, names: Iterable[str]) -> str:
    """Return the entry for options that another docstring describes: names and defaults."""
    listed = ", ".join(f"{name}={value_text(OPTIONS[name].default)}" for name in names)
    return wrapped(f"{introduction} {listed}.")


def wrapped(entry: str) -> str:
    return textwrap.fill(
        entry, WIDTH, initial_indent=8 * " ", subsequent_indent=12 * " ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def parameters_of(constructor: Any) -> list[str]:
    """Return an entry for each option that the signature of a class names."""
    hints = get_type_hints(constructor.__init__)
    return [
        argument(name, hints[name], default, OPTIONS[name].summary)
        for name, default in defaults_of(constructor).items()
    ]


def training_arguments() -> list[str]:
    hints = get_type_hints(Options)
    options = [
        argument(name, hints[name], OPTIONS[name].default, OPTIONS[name].summary)
        for name in KEYWORD_ONLY
    ]
    return [*parameters_of(TrainingAttentionMonitor), *options]


def lightweight_arguments() -> list[str]:
    introduction = "**options: The keyword options that `TrainingAttentionMonitor` describes:"
    options = other_options(introduction, KEYWORD_ONLY)
    return [*parameters_of(LightweightAttentionMonitor), options]


def callback_arguments(save_dir: str) -> list[str]:
    hints = get_type_hints(huggingface.AttentionCallback.__init__)
    introduction = "**settings: The other options that `TrainingAttentionMonitor` describes:"
    names = (name for name in OPTIONS if name in get_type_hints(CallbackSettings))
    return [
        argument("save_dir", hints["save_dir"], None, save_dir),
        other_options(introduction, names),
    ]


def with_arguments(source: str, entries: list[str]) -> str:
    """Return the source with these entries as its first `Args` section."""
    return replaced(source, r"\n    Args:\n", "\n".join(entries), r"\n\n    Raises:\n")


def with_rows(guide: str) -> str:
    """Return the guide with the rows of its two tables of settings renewed."""
    for title, names in (("setting", BY_POSITION), ("option", KEYWORD_ONLY)):
        head = rf"\| {title} \| default \| \|\n\|---\|---\|---\|\n"
        guide = replaced(guide, head, "\n".join(map(row, names)), r"\n\n")
    return guide


def row(name: str) -> str:
    """Return one row of the guide's tables."""
    default = OPTIONS[name].default
    cell = f"`{value_text(default)}`"
    lightweight = defaults_of(LightweightAttentionMonitor).get(name, default)
    if lightweight != default:
        cell += f" (lightweight: `{value_text(lightweight)}`)"
    return f"| `{name}` | {cell} | {OPTIONS[name].summary} |"


def replaced(text: str, head: str, new: str, tail: str) -> str:
    """Return the text with `new` between the first match of `head` and the next of `tail`."""
    found = re.search(f"({head}).*?({tail})", text, re.DOTALL)
    if found is None:
        raise ValueError(f"there is no {head!r}, or no {tail!r} after it")
    return text[: found.end(1)] + new + text[found.start(2) :]


def documents() -> dict[Path, Callable[[str], str]]:
    """Returns, for each file with words of the table, a function that renews them in its text."""
    below = "Directory that everything is written to; `None` is `attention_logs` below"
    arguments = {
        inspect.getfile(TrainingAttentionMonitor): training_arguments(),
        inspect.getfile(LightweightAttentionMonitor): lightweight_arguments(),
        huggingface.__file__: callback_arguments(f"{below} the Trainer's output directory."),
        lightning.__file__: callback_arguments(f"{below} the directory of the first logger."),
    }
    docstrings = {
        Path(file): partial(with_arguments, entries=entries) for file, entries in arguments.items()
    }
    return {GUIDE: with_rows, **docstrings}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; say what is stale")
    check = parser.parse_args().check
    stale = []
    for path, renew in documents().items():
        text = path.read_text()
        if (renewed := renew(text)) != text:
            stale.append(path)
            if not check:
                path.write_text(renewed)
    for path in stale:
        print(f"{'stale' if check else 'written'}: {path}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
