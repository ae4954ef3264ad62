"""Whether `sys.executable` is a Python that can be started again, for a process of ours."""

import os
import re
import sys

_PYTHON = re.compile("python|pypy|graalpy|hython|mayapy", re.I)
"""What the names of programs that take Python's arguments have in them."""


def is_own_python() -> bool:
    """Return whether it is one: a frozen application, started again, runs the user's program.

    It is none in one that embeds Python, and in some servers.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        return False
    is_compiled = "__compiled__" in vars(sys.modules["__main__"])  # by Nuitka
    names = {os.path.basename(path) for path in (sys.executable, os.path.realpath(sys.executable))}
    return not is_compiled and any(_PYTHON.search(name) for name in names)
