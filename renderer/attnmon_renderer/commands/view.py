"""Show runs in a browser, while they train and afterwards.

It reads files and does nothing else: no training knows of it, and nothing is written. The one line
that it prints is the address to open, with a token in it: whoever has the token can look.
Ctrl-C ends it.
"""

import argparse
import sys
import webbrowser
from importlib.util import find_spec
from pathlib import Path

from attnmon_renderer.commands.bucket_places import place, reads_buckets
from attnmon_renderer.mirror.remote_folders import is_not_raw
from attnmon_renderer.storage import regular_files
from attnmon_renderer.terminal import harmless

NEEDED = ("starlette", "uvicorn")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "directory", metavar="DIR", type=place, nargs="*", default=[Path()],
        help="a monitor's save_dir, a directory above those of many, or the URL of a mirror "
        "(default: this directory)",
    )  # fmt: skip
    add("--port", type=_port, help="default: 6061, or the next one that is free; 0: any")
    add("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1)")
    add(
        "--uds", metavar="PATH", type=Path,
        help="listen at a socket that only you can connect to, instead of a port",
    )  # fmt: skip
    add("--open", action="store_true", help="open a browser")
    add(
        "--allow-host", metavar="NAME", action="append", default=[],
        help="also answer for this name of the machine, or of a proxy before it",
    )  # fmt: skip
    add(
        "--frame-ancestors", metavar="ORIGIN", action="append", default=[],
        help="let pages of this origin show it in a frame, such as http://localhost:8888, or self",
    )  # fmt: skip


@reads_buckets("view", "directory", wanted=is_not_raw, follow=True)
def run(arguments: argparse.Namespace) -> int:
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        print(
            f"attnmon view: {' and '.join(missing)} not installed: "
            'pip install "attnmon[view]"', file=sys.stderr,
        )  # fmt: skip
        return 2
    folders = [regular_files.resolved(folder) for folder in arguments.directory]
    if absent := [folder for folder in folders if not folder.is_dir()]:
        print(f"attnmon view: there is no directory {harmless(absent[0])}", file=sys.stderr)
        return 2
    from attnmon_renderer.view.serving import ViewRequest, serve

    request = ViewRequest(
        folders, arguments.host, arguments.port, arguments.uds,
        arguments.allow_host, arguments.frame_ancestors,
    )  # fmt: skip

    def announce(address: str, hint: str) -> None:
        print(f"attnmon: {address}" + (f" ({hint})" if hint else ""), flush=True)
        if arguments.open:
            webbrowser.open(address)

    try:
        serve(request, announce)
    except (OSError, ValueError) as error:
        print(f"attnmon view: {harmless(error)}", file=sys.stderr)
        return 2
    return 0


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text}: give a number from 0 to 65535")
    return port
