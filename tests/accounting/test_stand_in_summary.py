"""The summary of a run without a renderer: whole, private, and through no link."""

import json
import os
import stat
from pathlib import Path

from attnmon.accounting.stand_in_summary import (
    amend_summary,
    finish_summary,
    write_summary,
)

ACCOUNTS = {"captured": 2, "failed": 2, "off": "no room"}


def read(folder: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / "summary.json").read_text())
    return content


def test_it_says_why_and_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"state": "closed", "dropped": 1}')
    write_summary(tmp_path, "off", ACCOUNTS)
    assert read(tmp_path).items() >= {**ACCOUNTS, "state": "off"}.items()
    assert "dropped" not in read(tmp_path)
    assert stat.S_IMODE((tmp_path / "summary.json").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["summary.json"]


def test_what_a_renderer_left_is_kept_beside_it(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"state": "running", "off": null, "dropped": 1}')
    amend_summary(tmp_path, "renderer lost", ACCOUNTS)
    assert read(tmp_path).items() >= {**ACCOUNTS, "state": "renderer lost", "dropped": 1}.items()
    amend_summary(tmp_path, "off", {"off": "another reason"})
    assert read(tmp_path)["off"] == "no room", "it said so itself"


def test_no_link_is_followed_and_a_folder_that_is_gone_is_no_error(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text('{"dropped": 7}')
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "summary.json").symlink_to(mine)
    (folder / f".summary.json.{os.getpid()}.tmp").symlink_to(mine)
    amend_summary(folder, "off", ACCOUNTS)
    assert mine.read_text() == '{"dropped": 7}'
    os.unlink(folder / f".summary.json.{os.getpid()}.tmp")
    amend_summary(folder, "off", ACCOUNTS)
    assert mine.read_text() == '{"dropped": 7}'
    assert "dropped" not in read(folder)
    write_summary(tmp_path / "gone", "off", ACCOUNTS)
    assert not (tmp_path / "gone").exists()


def test_what_an_ended_renderer_was_writing_goes_and_what_it_had_written_stays(
    tmp_path: Path,
) -> None:
    (tmp_path / "summary.json").write_text('{"state": "running", "off": "so", "ring": "file"}')
    (tmp_path / ".summary.json.attnmon-7-ab.tmp").write_text('{"sta')
    (tmp_path / ".summary.json.mine").write_text("kept")
    finish_summary(tmp_path, {"captured": 0, "off": "so"})
    wanted = {"state": "closed", "ring": "file", "captured": 0, "pids": [], "off": "so"}
    assert read(tmp_path).items() >= wanted.items()
    assert sorted(os.listdir(tmp_path)) == [".summary.json.mine", "summary.json"]
