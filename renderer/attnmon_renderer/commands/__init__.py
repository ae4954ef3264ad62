"""The commands of the user: `attnmon` with one module per subcommand, and `attnmon-renderer`.

A subcommand's module has a docstring whose first line is its help, `add_arguments(parser)`, and
`run(arguments)`, which prints and returns the exit code. Heavy packages are imported only in `run`.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from attnmon._version import __version__

SUBCOMMANDS = ("status", "view", "render", "report", "compare", "check", "export", "sync", "doctor")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the subcommand that is named on the command line of `attnmon`; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="attnmon", description="Look at what attnmon does and has written."
    )
    parser.add_argument("--version", action="version", version=f"attnmon {__version__}")
    subcommands = parser.add_subparsers(metavar="COMMAND", required=True)
    given = sys.argv[1:] if argv is None else argv
    for name in set(SUBCOMMANDS).intersection(given[:1]) or SUBCOMMANDS:  # importing takes time
        _add_subcommand(subcommands, name)
    arguments = parser.parse_args(given)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads it, such as `head`, has had enough
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())
        return 1
    return code


def _add_subcommand(
    subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str
) -> None:
    module = import_module(f"{__name__}.{name}")
    summary, _, rest = (module.__doc__ or "").partition("\n")
    parser = subcommands.add_parser(
        name,
        help=summary.strip().rstrip("."),
        description=summary + rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    parser.set_defaults(run=module.run)
