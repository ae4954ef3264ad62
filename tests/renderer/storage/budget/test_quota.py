"""The disk budget: what goes, what stays, what is never touched, and that it is counted."""

import json
import logging
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support.models import LanguageModel, Translator, batch
from support.outputs import check_outputs, files_in, history, summary, tensorboard
from support.training_process import wait_until_settled

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
from attnmon.config.validation import byte_count
from attnmon.options import PICTURES
from attnmon_renderer.commands import main
from attnmon_renderer.insight.alarmed_steps import AlarmedSteps
from attnmon_renderer.storage import atomic_files, earlier_runs
from attnmon_renderer.storage.budget.quota import DiskQuota


def train(folder: Path, steps: range, **options: Any) -> dict[str, Any]:
    model = LanguageModel()
    given: dict[str, Any] = {"use_tensorboard": False, "max_overhead": None, **options}
    one_by_one = {"max_workers": 1, **given}  # several may finish in another order
    with TrainingAttentionMonitor(folder, 1, **one_by_one) as monitor:
        for step in steps:
            monitor.log_attention(model, batch(), step=step, loss=1.0)
    return monitor.close()


def bytes_in(folder: Path) -> int:
    files = [folder] if folder.is_file() else folder.rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file())


def steps_with(pattern: str, folder: Path) -> list[int]:
    found = {path.relative_to(folder).parts[0] for path in folder.glob(pattern)}
    return sorted(int(name.partition("_")[2].removesuffix(".zip")) for name in found)


@pytest.fixture(scope="module")
def unbounded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ten captures; to be read only."""
    folder = tmp_path_factory.mktemp("unbounded") / "run"
    train(folder, range(10))
    return folder


@pytest.fixture
def run(unbounded: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(unbounded, tmp_path / "run")


def of_the_pictures(run: Path, captures: float) -> int:
    """A budget that leaves room for the pictures and maps of so many of the captures."""
    files = [*run.glob("step_*/*.png"), *run.glob("step_*/maps.safetensors")]
    pictures = sum(path.stat().st_size for path in files)
    count = len(steps_with("step_*/*.png", run))
    return bytes_in(run) - pictures + int(pictures / count * captures) + 500  # the account itself


def test_pictures_and_maps_are_thinned_out_and_the_numbers_stay(
    unbounded: Path, tmp_path: Path
) -> None:
    budget = of_the_pictures(unbounded, 4.5)
    accounts = train(tmp_path, range(10), disk_budget=budget)
    assert (accounts["rendered"], accounts["failed"]) == (10, 0)
    assert steps_with("step_*/*.png", tmp_path) == [0, 2, 7, 9]
    assert steps_with("step_*/maps.safetensors", tmp_path) == [0, 2, 7, 9]
    assert steps_with("step_*/statistics.json", tmp_path) == list(range(10))
    assert len(history(tmp_path)) == 10
    disk = summary(tmp_path)["disk"]
    assert bytes_in(tmp_path) <= budget
    assert abs(disk.pop("used") - bytes_in(tmp_path)) < 500, "the summary counts the last one"
    assert disk == {"budget": budget, "pictures_removed": 6, "without_pictures": 0}
    check_outputs(tmp_path)


def test_without_a_budget_everything_stays_and_nothing_is_measured(unbounded: Path) -> None:
    assert steps_with("step_*/*.png", unbounded) == list(range(10))
    assert "disk" not in summary(unbounded)


def test_what_is_there_counts_when_a_run_goes_on(run: Path) -> None:
    train(run, range(10, 12), disk_budget=of_the_pictures(run, 3.5))
    assert steps_with("step_*/*.png", run) == [0, 3, 11]
    assert steps_with("step_*/statistics.json", run) == list(range(12))


def alert_at(step: int) -> bytes:
    fields = {
        "id": f"a{step}", "rule": "loss_spike", "severity": "warn", "state": "firing",
        "step": step, "text": "the loss has doubled",
    }  # fmt: skip
    return json.dumps(fields).encode() + b"\n"


@pytest.mark.parametrize("pack", [False, True])
def test_steps_of_alerts_and_dumps_stay_while_others_can_go(tmp_path: Path, pack: bool) -> None:
    run = tmp_path / "run"
    train(run, range(10), pack=pack, disk_budget="1 GB")
    (run / "alerts.jsonl").write_bytes(alert_at(6))
    if pack:
        packed_again(run / "step_4.zip")
    else:
        kept = run / "step_4" / "statistics.json"
        kept.write_text(kept.read_text().replace('"step": 4', '"kept_for": "why", "step": 4'))
    pictures = "step_*.zip" if pack else "step_*/*.png"
    size = sum(bytes_in(path) for path in run.glob("step_*")) // 10
    alarmed = AlarmedSteps(run)
    DiskQuota(run, bytes_in(run) - int(5.5 * size), True, alarmed)
    assert steps_with(pictures, run) == [0, 4, 6, 9]
    with (run / "alerts.jsonl").open("ab") as alerts:
        alerts.write(alert_at(9) + b'{"torn')
    assert alarmed() == {6, 9}
    DiskQuota(run, 1, True, alarmed)
    assert steps_with(pictures, run) == [], "a budget is a budget"


def packed_again(path: Path) -> None:
    """Says in the statistics of a packed step that it is of a dump."""
    with zipfile.ZipFile(path) as pack:
        members = {info: pack.read(info) for info in pack.infolist()}
    with zipfile.ZipFile(path, "w") as pack:
        for info, content in members.items():
            pack.writestr(info, content.replace(b'"step": 4', b'"kept_for": "why", "step": 4'))


def test_an_earlier_run_s_pictures_count_and_go_first(run: Path) -> None:
    budget = of_the_pictures(run, 4)
    earlier = earlier_runs.set_aside(run)
    quota = DiskQuota(run, budget, True)
    assert bytes_in(run) <= budget
    assert steps_with("step_*/*.png", earlier) == list(range(6, 10))
    shutil.copytree(earlier / "step_9", run / "step_0")
    quota.add("step_0")
    assert bytes_in(run) <= budget
    kept = steps_with("step_*/*.png", earlier)
    assert kept == list(range(10 - len(kept), 10))
    assert 0 < len(kept) < 4
    assert steps_with("step_*/*.png", run) == [0]
    assert len(history(earlier)) == 10
    assert quota.account()["used"] == bytes_in(run)


def test_packed_pictures_and_raw_weights_go_too(tmp_path: Path) -> None:
    unbounded = tmp_path / "unbounded"
    train(unbounded, range(1), pack=True, save_raw_weights=True)
    budget = int(bytes_in(unbounded) * 3.5)
    train(tmp_path / "run", range(8), pack=True, save_raw_weights=True, disk_budget=budget)
    kept = steps_with("step_*.zip", tmp_path / "run")
    assert (kept[0], kept[-1]) == (0, 7)
    assert 2 <= len(kept) <= 4
    assert steps_with("step_*/*.safetensors", tmp_path / "run") == kept
    assert not [path for path in (tmp_path / "run").glob("step_*/") if not any(path.iterdir())]
    assert bytes_in(tmp_path / "run") <= budget


def test_where_nothing_can_go_no_more_is_drawn_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    accounts = train(tmp_path, range(8), use_tensorboard=True, disk_budget="5 kB")
    assert (accounts["rendered"], accounts["failed"]) == (8, 0)
    assert steps_with("step_*/statistics.json", tmp_path) == list(range(8))
    assert steps_with("step_*/*.png", tmp_path) == []
    events = tensorboard(tmp_path)
    assert len(events.Scalars("train/loss")) == 8, "the curves go on"
    assert len(events.Images("attention/decoder_layer0_self")) <= 1
    disk = summary(tmp_path)["disk"]
    assert disk["pictures_removed"] + disk["without_pictures"] == 8
    said = [record.getMessage() for record in caplog.records]
    assert ["no more pictures are written" in line for line in said] == [True]
    check_outputs(tmp_path)


def test_workers_are_told_that_nothing_more_is_to_be_drawn(tmp_path: Path) -> None:
    """Or each later capture would be drawn for nothing, at the cost of the training's machine."""
    model = LanguageModel()
    with TrainingAttentionMonitor(tmp_path, 1, disk_budget=1, max_overhead=None) as monitor:
        monitor.log_attention(model, batch(), step=0)
        wait_until_settled(monitor)
        for step in range(1, 5):
            monitor.log_attention(model, batch(), step=step)
    disk = summary(tmp_path)["disk"]
    assert (disk["pictures_removed"], disk["without_pictures"]) == (1, 4)
    assert summary(tmp_path)["rendered"] == 5


def test_events_never_drive_all_pictures_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They hold a card of each picture and never shrink."""
    train(tmp_path / "one", range(30), use_tensorboard=True)
    what_grows = tmp_path / "one" / "tensorboard", tmp_path / "one" / "history.jsonl"
    budget = int(1.7 * sum(map(bytes_in, what_grows)))
    train(tmp_path / "run", range(30), use_tensorboard=True, disk_budget=budget)
    events = tensorboard(tmp_path / "run")
    assert 1 <= len(events.Images("attention/decoder_layer0_self")) < 30
    assert len(events.Scalars("train/loss")) == 30
    assert steps_with("step_*/*.png", tmp_path / "run")[-1] == 29
    assert sum("only curves" in record.getMessage() for record in caplog.records) == 1


def test_the_lightweight_monitor_goes_on_whatever_its_budget(tmp_path: Path) -> None:
    with LightweightAttentionMonitor(tmp_path, 1, disk_budget=1000) as monitor:
        for step in range(4):
            monitor.log_attention(LanguageModel(), batch(), step=step)
    assert (len(history(tmp_path)), summary(tmp_path)["rendered"]) == (4, 4)
    assert summary(tmp_path)["disk"]["without_pictures"] == 0


def test_nothing_of_the_user_s_is_ever_removed(run: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "decoder_layer0_self_attn.png").write_bytes(b"in another place")
    (run / "step_77").symlink_to(elsewhere)
    theirs = [
        "step_0/notes.txt", "step_0/my.png", "step_0/decoder_layer0_self_attn.png.bak",
        "step_1/encoder_layer0_mine_attn.png", "decoder_layer0_self_attn.png",
        "step_2_best/decoder_layer0_self_attn.png", "checkpoints/step_3/model.png",
    ]  # fmt: skip
    for name in theirs:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("mine")
    with zipfile.ZipFile(run / "step_3.zip", "w") as pack:
        pack.write(run / "step_3" / "decoder_layer0_self_attn.png", "decoder_layer0_self_attn.png")
    (run / "step_4" / "decoder_layer9_self_attn.png").symlink_to(run / "step_0" / "notes.txt")
    before = files_in(run)
    disk = DiskQuota(run, 1, wants_pictures=True)
    gone = before - files_in(run)
    names = {"maps.safetensors", *(f"decoder_layer{i}_self_attn.png" for i in (0, 1))}
    assert gone == {f"step_{step}/{name}" for step in range(10) for name in names}
    assert disk.full
    assert (elsewhere / "decoder_layer0_self_attn.png").exists()


def test_every_kind_of_picture_is_known_by_its_name(tmp_path: Path) -> None:
    with TrainingAttentionMonitor(
        tmp_path, 1, None, [*PICTURES, "statistics"], None, save_raw_weights=True
    ) as monitor:
        monitor.log_attention(Translator(), batch(), batch(length=9), step=0)
    assert len(list((tmp_path / "step_0").iterdir())) > 20
    DiskQuota(tmp_path, 1, wants_pictures=True)
    assert [path.name for path in (tmp_path / "step_0").iterdir()] == ["statistics.json"]


def test_what_cannot_be_removed_is_not_tried_for_ever(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, **_: Any) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(os, "unlink", refuse)
    disk = DiskQuota(run, 1, wants_pictures=True)
    assert disk.full
    assert disk.account()["used"] == bytes_in(run)


def test_a_run_without_pictures_is_reported_like_any_other(
    run: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        train(run, range(10, 11), disk_budget=1000)
    assert main(["status", str(run)]) == 0
    assert "pictures of 11 captures removed" in capsys.readouterr().out
    assert main(["report", str(run)]) == 0
    assert "0 of 0 steps" in capsys.readouterr().out
    assert main(["render", str(run)]) == 2, "there are no raw weights left"


@pytest.mark.parametrize(
    ("given", "expected"),
    [(5, 5), ("5", 5), ("2 GB", 2 * 10**9), ("500MB", 5 * 10**8), ("1.5 kB", 1500),
     ("1 GiB", 1 << 30), ("3 tb", 3 * 10**12), ("10 B", 10)],
)  # fmt: skip
def test_sizes_are_understood_as_people_write_them(given: int | str, expected: int) -> None:
    assert byte_count("disk_budget", given) == expected


def test_a_folder_that_goes_while_it_is_written_to_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget has removed its first picture, and with it the folder, when the second is made."""
    open_file, folder = os.open, tmp_path / "step_0"

    def after_the_folder_went(path: Any, *arguments: Any, **options: Any) -> int:
        if removals and str(path).endswith(".tmp"):
            removals.pop().rmdir()
        return open_file(path, *arguments, **options)

    removals = [folder]
    monkeypatch.setattr(os, "open", after_the_folder_went)
    atomic_files.replace(folder / "a.png", b"picture")
    assert (folder / "a.png").read_bytes() == b"picture"
    assert not removals


def test_a_run_that_is_there_is_measured_and_no_link_is_followed(run: Path, tmp_path: Path) -> None:
    """Folders and a packed step count; links, to files or to folders, do not."""
    own = bytes_in(run)
    packed = run / "step_90.zip"
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr(zipfile.ZipInfo("encoder_layer0_self_attn.png", (1980, 1, 1, 0, 0, 0)), "12")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "encoder_layer0_self_attn.png").write_bytes(bytes(10_000))
    (run / "step_91").symlink_to(outside)
    (run / "step_92").mkdir()
    (run / "step_92/encoder_layer0_self_attn.png").symlink_to(
        outside / "encoder_layer0_self_attn.png"
    )
    quota = DiskQuota(run, 10**9, wants_pictures=True)
    assert quota.account()["used"] == own + packed.stat().st_size
