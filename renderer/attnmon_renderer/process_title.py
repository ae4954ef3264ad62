"""Names the renderer's processes, as `ps` and `top` show them: `attnmon: worker demo_logs`."""

import contextlib
import os
from pathlib import Path

_START_OF_ARGUMENTS, _END_OF_ARGUMENTS = 45, 46
"""Places in /proc/self/stat, behind the name: the addresses of the command line in memory."""


def set_title(role: str, save_dir: str) -> None:
    """Name this process after what it does, and the last part of its run's directory.

    The name takes the place of the command line, and of no more. Where the system does not allow
    it, nothing happens.
    """
    title = f"attnmon: {role} {Path(save_dir).name}".encode(errors="replace")
    with contextlib.suppress(OSError, ValueError, IndexError):
        Path("/proc/self/comm").write_bytes(title[:15])  # what the kernel takes at most
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[_START_OF_ARGUMENTS]), int(fields[_END_OF_ARGUMENTS])
        room = end - start
        memory = os.open("/proc/self/mem", os.O_RDWR)
        try:
            # A zero at the end, or the kernel shows the environment behind it, too.
            os.pwrite(memory, title[: max(room - 1, 0)].ljust(room, b"\0"), start)
        finally:
            os.close(memory)
