"""Writes `run.json`: what a run is, apart from how it goes: once, and again for another layer."""

import json
import os
import platform
import secrets
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from attnmon.link.records.run_setup import Setup
from attnmon_renderer.results import LayerResult, Results
from attnmon_renderer.sinks.statistics_json import to_json
from attnmon_renderer.sinks.summary import settings_shown
from attnmon_renderer.storage import atomic_files, paths
from attnmon_renderer.storage.records import read_run_description

FORMAT = "attnmon-run 1"
GIT_SECONDS = 1.0
"""How long `git` may take in all, since captures wait meanwhile; of a large tree on a slow disk it
is not told."""


class RunDescription:
    """The description of one run, which a resumed training goes on with."""

    def __init__(self, path: Path, setup: Setup) -> None:
        self._path = path
        self._setup = setup
        self._content: dict[str, Any] = {}
        self._layers: dict[tuple[str, int], dict[str, Any]] = {}
        self._is_written = False
        """Whether the file has all that is known."""

    def write(self, results: Results) -> None:
        """Write the file, if this capture adds anything to it. Raises OSError."""
        if not self._content:
            self._begin(results.step)
        layers = {
            (paths.role(row.stack, row.type), row.layer): _layer(row) for row in results.layers
        }
        if not self._is_written or layers.keys() - self._layers.keys():
            self._layers = {**layers, **self._layers}
            table = [self._layers[place] for place in sorted(self._layers)]
            content = to_json({**self._content, "layers": table}, indent=2) + "\n"
            atomic_files.replace(self._path, content.encode())
            self._is_written = True

    def _begin(self, step: int) -> None:
        try:
            self._content = read_run_description(self._path)
        except (OSError, ValueError):
            self._content = _first_description(self._setup)
            return
        self._is_written = True
        for row in self._content.get("layers", []):
            self._layers[row["role"], row["layer"]] = row
        starts = [self._content, *self._content["resumed"]]
        if starts[-1].get("started") != self._setup.started:
            self._content["resumed"].append({**_start(self._setup), "step": step})
            self._is_written = False


def _first_description(setup: Setup) -> dict[str, Any]:
    began = time.strftime("%Y%m%d-%H%M%S", time.gmtime(setup.started))
    return {
        "format": FORMAT,
        "id": f"{began}-{secrets.token_hex(3)}",
        **_start(setup),
        "settings": settings_shown(setup),
        "config": json.loads(setup.launch.config or "null"),
        "rank": setup.rank,
        "world_size": setup.world_size,
        "resumed": [],
    }


def _start(setup: Setup) -> dict[str, Any]:
    """Return what is known of one start of the training; a resumed run has several."""
    return {
        "started": setup.started,
        "host": platform.node(),
        "command": list(setup.launch.command),
        "directory": setup.launch.directory,
        "git": _git(setup.launch.directory),
        "versions": dict(setup.versions),
        "probe": setup.launch.probe,
    }


def _git(directory: str) -> dict[str, Any] | None:
    """Return the commit that is checked out, and whether files differ; None outside of git."""
    git = _Git(directory)
    commit = git.ask("rev-parse", "HEAD") if directory else None
    if not commit:
        return None
    filters = git.ask("config", "--name-only", "--get-regexp", r"^filter\..*\.(clean|process)$")
    for name in (filters or "").splitlines():
        git.settings |= {name: "", f"{name.rpartition('.')[0]}.required": "false"}
    told = ("--porcelain", "--untracked-files=no", "--ignore-submodules=dirty")
    changes = git.ask("status", *told)
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


class _Git:
    """Asks git about a directory; in all it may take `GIT_SECONDS`.

    A repository's own settings may name programs to run; none is wanted here.
    """

    def __init__(self, directory: str) -> None:
        self.settings = {"core.fsmonitor": "false", "core.hooksPath": "/dev/null"}
        """Settings that go before all others, those of the repository too."""
        self._directory = directory
        self._deadline = time.monotonic() + GIT_SECONDS

    def ask(self, *command: str) -> str | None:
        """Return what it says; None if it fails, or takes too long."""
        try:
            asked = subprocess.Popen(
                ["git", "-C", self._directory, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                process_group=0,
                text=True,
                errors="replace",
                env={**os.environ, **_ENVIRONMENT, **_numbered(self.settings)},
            )
        except OSError:
            return None
        with asked:
            try:
                said, _ = asked.communicate(timeout=max(0.0, self._deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(asked.pid, signal.SIGKILL)  # with all that it has started
                return None
        return said.strip() if asked.returncode == 0 else None


_ENVIRONMENT = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}


def _numbered(settings: dict[str, str]) -> dict[str, str]:
    """Return settings as git takes them from its environment, whatever their names hold."""
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def _layer(row: LayerResult) -> dict[str, Any]:
    heads, queries, keys = row.shape
    return {
        "role": paths.role(row.stack, row.type), "layer": row.layer,
        "module": row.name, "source": row.source,
        "heads": heads, "queries": queries, "keys": keys, "note": row.note,
    }  # fmt: skip
