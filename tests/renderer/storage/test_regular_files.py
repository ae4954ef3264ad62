"""What was put into a run's directory is neither followed, opened nor overwritten."""

import os
import secrets
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from attnmon_renderer.storage import atomic_files, regular_files
from attnmon_renderer.storage.regular_files import LargeFile, NotRegular

PRECIOUS = "precious\n"


def put_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "victim")


def put_dangling_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "not there")


def put_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, tempfile.TemporaryDirectory() as short:
        listener.bind(f"{short}/s")
        os.rename(f"{short}/s", path)


KINDS = {
    "a link": put_link,
    "a dangling link": put_dangling_link,
    "a pipe": os.mkfifo,
    "a socket": put_socket,
    "a folder": Path.mkdir,
}


def append(path: Path) -> None:
    os.close(atomic_files.open_to_append(path))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """An empty directory beside a file that is nobody's business."""
    (tmp_path / "victim").write_text(PRECIOUS)
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture(autouse=True)
def nobody_has_touched(tmp_path: Path) -> object:
    yield
    victim = tmp_path / "victim"
    assert not victim.exists() or victim.read_text() == PRECIOUS
    assert not (tmp_path / "not there").exists()
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "use",
    [regular_files.read, append, lambda path: atomic_files.replace(path, b"ours")],
    ids=["read", "append", "replace"],
)
def test_what_is_no_regular_file_is_left_as_it_is(
    run: Path, kind: str, use: Callable[[Path], object]
) -> None:
    path = run / "summary.json"
    KINDS[kind](path)
    with pytest.raises(NotRegular, match=r"summary.json is .* left as it is"):
        use(path)
    assert not regular_files.exists(path)
    assert regular_files.files_in(run) == {}
    assert path.is_symlink() == kind.endswith("link")


@pytest.mark.parametrize(
    "use",
    [
        regular_files.read, regular_files.create, regular_files.remove, append,
        lambda path: atomic_files.replace(path, b"ours"),
    ],
    ids=["read", "create", "remove", "append", "replace"],
)  # fmt: skip
def test_a_folder_that_is_a_link_is_not_entered(run: Path, use: Callable[[Path], object]) -> None:
    (run / "step_1").symlink_to("..")
    with pytest.raises(NotRegular, match="'step_1' in it is a link"):
        use(run / "step_1" / "victim")
    assert regular_files.files_in(run / "step_1") == {}
    assert regular_files.folders_in(run) == []
    assert regular_files.strangers_in(run) == ["step_1"]


def test_the_link_by_which_a_user_names_a_directory_is_followed(run: Path) -> None:
    (run.parent / "mine").symlink_to(run)
    place = regular_files.resolved(run.parent / "mine")
    atomic_files.replace(place / "step_1" / "a.png", b"picture")
    assert regular_files.read(place / "step_1" / "a.png") == b"picture"
    assert (run / "step_1").stat().st_mode & 0o777 == 0o700
    assert (run / "step_1" / "a.png").stat().st_mode & 0o777 == 0o600


def test_another_name_of_a_file_does_not_get_what_is_appended(run: Path) -> None:
    os.link(run.parent / "victim", run / "history.jsonl")
    descriptor = atomic_files.open_to_append(run / "history.jsonl")
    os.write(descriptor, b"a line\n")
    os.close(descriptor)
    assert (run / "history.jsonl").read_text() == PRECIOUS + "a line\n"


def test_a_temporary_name_that_was_foreseen_is_not_used(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: "0")
    put_link(run / f".a.png.attnmon-{os.getpid()}-0.tmp")
    with pytest.raises(FileExistsError):
        atomic_files.replace(run / "a.png", b"picture")
    (run / f".a.png.attnmon-{os.getpid()}-0.tmp").unlink()


def test_a_file_larger_than_any_of_ours_is_not_read(run: Path) -> None:
    with open(run / "a.png", "wb") as file:
        file.truncate(1 << 40)  # of which no byte is on the disk
    with pytest.raises(LargeFile, match="larger than 100 bytes"):
        regular_files.read(run / "a.png", most=100)
