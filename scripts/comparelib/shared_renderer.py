"""One renderer for all trainings: to start one for each would take longer than to train."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attnmon.link import rendezvous

_CODE = "import sys; from attnmon_renderer.commands.renderer import main; sys.exit(main())"


@contextmanager
def shared_renderer() -> Iterator[None]:
    """Start `attnmon-renderer`, and have the monitors of this process attach to it."""
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / rendezvous.SOCKET_NAME
        process = subprocess.Popen(
            [sys.executable, "-c", _CODE, "--socket-dir", folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        try:
            while not socket.exists():
                if process.poll() is not None:
                    raise RuntimeError("the renderer ended at once")
                time.sleep(0.1)
            os.environ["ATTNMON_RENDERER"] = str(socket)
            yield
        finally:
            os.environ.pop("ATTNMON_RENDERER", None)
            process.terminate()
            process.wait()
