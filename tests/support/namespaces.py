"""Command prefixes that run a program in a Linux namespace of its own.

A test is skipped where the system does not allow one.
"""

import os
import subprocess
from pathlib import Path

import pytest


def small_disk_command(size: str, folder: Path) -> list[str]:
    """Returns a prefix that mounts a disk of that size on `folder`, visible to the program only."""
    mount = f'mount -t tmpfs -o size={size} none "{folder}" && exec "$@"'
    return [*namespace_command("--mount"), "sh", "-c", mount, "sh"]


def namespace_command(*kinds: str) -> list[str]:
    """Returns a prefix that runs a program in new namespaces; `kinds` are options of `unshare`."""
    command = ["unshare", *(() if os.geteuid() == 0 else ("--map-root-user",)), *kinds]
    try:
        allowed = subprocess.run([*command, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    if allowed.returncode:
        pytest.skip(f"no namespace for us: {allowed.stderr.decode()}")
    return command
