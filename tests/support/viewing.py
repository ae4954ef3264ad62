"""A server of some directories, without a socket, and who may ask it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attnmon_renderer.view.access import Access, cookie_name
from attnmon_renderer.view.application import make_application
from attnmon_renderer.view.changes import Changes
from attnmon_renderer.view.endpoints import Endpoints
from attnmon_renderer.view.gate import Application
from attnmon_renderer.view.page_files import PageFiles
from attnmon_renderer.view.runs.run_index import RunIndex
from support.asgi import Client, Response


class Viewed:
    """What a server of these directories answers; `ask` has the token, `stranger` has not."""

    def __init__(self, folders: Sequence[Path], **access: Any) -> None:
        self.access = Access(cookie_name(6061), **access)
        index = RunIndex(folders)
        self.endpoints = Endpoints(index, PageFiles())
        self.application: Application = make_application(
            self.endpoints, self.access, Changes(index, self.endpoints.watched)
        )
        bearer = {"authorization": f"Bearer {self.access.token}"}
        self.ask = Client(self.application, bearer)
        self.stranger = Client(self.application, {})

    def json(self, target: str) -> Any:
        return parsed(self.ask(target))

    def only_run(self) -> str:
        """Returns the address of the only run there is."""
        [row] = self.json("/api/v1/runs")
        return f"/api/v1/runs/{row['id']}"

    def captures(self) -> dict[int, str]:
        """Returns the addresses of the only run's captures by their steps."""
        run = self.only_run()
        rows = self.json(run)["captures"]
        return {row["step"]: f"{run}/captures/{row['c']}" for row in rows}


def parsed(response: Response) -> Any:
    assert response.status == 200, response.body
    assert response.headers["content-type"] == "application/json"
    return json.loads(response.body)
