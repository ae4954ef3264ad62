"""`pack=True`: the same pictures in one file a step, and everything else as it was."""

import io
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load, load_file
from support.models import LanguageModel, batch
from support.outputs import check_outputs, files_in, strict_json, tensorboard

from attnmon import TrainingAttentionMonitor
from attnmon_renderer.commands import main
from attnmon_renderer.report.gather import gather_report_data
from attnmon_renderer.storage.step_folder import step_output


def train(folder: Path, pack: bool) -> Path:
    torch.manual_seed(0)
    model = LanguageModel()
    kinds = ["heatmap", "multi_head", "layer_comparison", "statistics"]
    with TrainingAttentionMonitor(
        folder, 1, visualization_types=kinds, save_raw_weights=True, pack=pack, on_full="wait"
    ) as monitor:
        for step in range(2):
            monitor.log_attention(model, batch(1), step=step, loss=0.5, epoch=step)
    return folder


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be read only."""
    return train(tmp_path_factory.mktemp("packed") / "run", pack=True)


def test_a_step_s_file_holds_what_its_folder_would(packed: Path, tmp_path: Path) -> None:
    loose = train(tmp_path, pack=False)
    check_outputs(packed)
    for folder in ("step_0", "epoch_1_step_1"):
        with zipfile.ZipFile(packed / f"{folder}.zip") as pack:
            assert pack.testzip() is None
            assert {info.compress_type for info in pack.infolist()} == {zipfile.ZIP_STORED}
            inside = {name: pack.read(name) for name in pack.namelist()}
        numbers = strict_json(inside.pop("statistics.json").decode())
        expected = strict_json((loose / folder / "statistics.json").read_text())
        assert numbers["decoder"] == expected["decoder"]
        maps = load(inside.pop("maps.safetensors"))
        loose_maps = load_file(loose / folder / "maps.safetensors")
        assert {name: each.tolist() for name, each in maps.items()} == {
            name: each.tolist() for name, each in loose_maps.items()
        }
        pngs = {path.name: path.read_bytes() for path in (loose / folder).glob("*.png")}
        assert inside == pngs
        assert len(pngs) == 5


def test_beside_it_are_only_the_weights_and_what_grows(packed: Path) -> None:
    assert files_in(packed) == {
        "step_0.zip",
        "step_0/attention_weights.safetensors",
        "epoch_1_step_1.zip",
        "epoch_1_step_1/attention_weights.safetensors",
        "history.jsonl",
        "run.json",
        "summary.json",
        "tensorboard/events.out.tfevents",
    }
    assert (packed / "step_0.zip").stat().st_mode & 0o777 == 0o600


def test_tensorboard_has_the_pictures_all_the_same(packed: Path) -> None:
    with zipfile.ZipFile(packed / "step_0.zip") as pack:
        heat_map = pack.read("decoder_layer0_self_attn.png")
    images = tensorboard(packed).Images("attention/decoder_layer0_self")
    assert len(images[0].encoded_image_string) < len(heat_map)


def test_a_packed_run_is_rendered_and_reported_like_any_other(
    packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn_again = ["--kinds", "layer_comparison", "--out", str(tmp_path), "--jobs", "1"]
    assert main(["render", str(packed), *drawn_again]) == 0
    again = (tmp_path / "step_0" / "decoder_self_layer_comparison.png").read_bytes()
    found = gather_report_data(packed, packed, 50, 10**9)
    assert [(step.number, step.folder) for step in found.steps] == [
        (0, "step_0"),
        (1, "epoch_1_step_1"),
    ]
    assert [step.metadata["step"] for step in found.maps.steps] == [0, 1]
    ((name, picture),) = found.steps[0].pictures.items()
    assert (name, picture.read()) == ("decoder_self_layer_comparison", again)
    assert main(["report", str(packed), "-o", str(tmp_path / "r.html")]) == 0
    assert "2 of 2 steps" in capsys.readouterr().out


def test_a_torn_file_has_no_pictures_and_breaks_no_report(packed: Path, tmp_path: Path) -> None:
    for name in ("summary.json", "history.jsonl", "step_0.zip"):
        (tmp_path / name).write_bytes((packed / name).read_bytes())
    torn = (packed / "epoch_1_step_1.zip").read_bytes()[:-40]
    (tmp_path / "epoch_1_step_1.zip").write_bytes(torn)
    assert [step.number for step in gather_report_data(tmp_path, tmp_path, 50, 10**9).steps] == [0]


def test_the_same_pictures_give_the_same_bytes_and_none_give_no_file(tmp_path: Path) -> None:
    written = []
    for folder in (tmp_path / "a" / "step_1", tmp_path / "b" / "step_1"):
        pack = step_output(folder, pack=True)
        pack.put("x.png", b"one")
        assert not folder.parent.exists()
        pack.finish()
        written.append(folder.with_name("step_1.zip").read_bytes())
    assert written[0] == written[1]
    assert zipfile.ZipFile(io.BytesIO(written[0])).read("x.png") == b"one"
    step_output(tmp_path / "c" / "step_1", pack=True).finish()
    assert not (tmp_path / "c").exists()
