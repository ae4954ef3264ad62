"""The monitor from end to end: the contract's snippets give the contract's files, keys and tags."""

import io
import logging
import math
import os
import signal
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from support.models import LanguageModel, Translator, batch
from support.outputs import check_outputs, files_in, history, strict_json, summary, tensorboard
from support.training_process import run_training
from torch import Tensor, nn

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
from attnmon.link.ring import SMALLEST_BYTES
from attnmon.session import startup

ALL_KINDS = ["heatmap", "multi_head", "layer_comparison", "statistics"]


def train(monitor: Any, model: nn.Module, steps: int, *, epoch_length: int = 10**9) -> None:
    """The contract's loop, its one added line included."""
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(steps):
        enc, dec, target = batch(seed=step), batch(length=9, seed=step), batch(length=9, seed=step)
        output = model(enc, dec)
        loss = criterion(output.flatten(0, 1), target.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        monitor.log_attention(
            model, enc, dec, step, loss.item(), epoch=step // epoch_length, lr=1e-3
        )


PER_LAYER = {f"encoder_layer{i}_self_attn" for i in (0, 1)} | {
    f"decoder_layer{i}_{kind}_attn" for i in (0, 1) for kind in ("self", "cross")
}
COMPARISONS = {f"{name}_layer_comparison" for name in ("encoder", "decoder_self", "decoder_cross")}


def test_the_first_snippet_gives_the_contracts_tree(tmp_path: Path) -> None:
    monitor = TrainingAttentionMonitor(save_dir=tmp_path / "attn_logs", save_frequency=100)
    train(monitor, Translator(), 101)
    accounts = monitor.close()
    expected = {"history.jsonl", "run.json", "summary.json", "tensorboard/events.out.tfevents"}
    for step in (0, 100):
        expected |= {f"step_{step}/{stem}.png" for stem in PER_LAYER}
        expected |= {f"step_{step}/statistics.json", f"step_{step}/maps.safetensors"}
    assert files_in(tmp_path / "attn_logs") == expected
    assert (accounts["captured"], accounts["rendered"]) == (2, 2)
    check_outputs(tmp_path / "attn_logs")


def test_the_second_snippet_closes_itself_and_draws_every_kind(tmp_path: Path) -> None:
    with TrainingAttentionMonitor(tmp_path, 2, [1], ALL_KINDS, None, "all", 2, 1, True) as monitor:
        train(monitor, Translator(), 4, epoch_length=3)
    folders = {"step_0", "step_2", "epoch_1_step_3"}
    names = {f"{stem}.png" for stem in PER_LAYER | COMPARISONS}
    names |= {f"{stem}_heads.png" for stem in PER_LAYER}
    names |= {"statistics.json", "maps.safetensors", "attention_weights.safetensors"}
    expected = {f"{folder}/{name}" for folder in folders for name in names}
    expected |= {"history.jsonl", "run.json", "summary.json", "tensorboard/events.out.tfevents"}
    assert files_in(tmp_path) == expected
    check_outputs(tmp_path)


def test_the_third_snippet_writes_numbers_only(tmp_path: Path) -> None:
    with LightweightAttentionMonitor(tmp_path) as monitor:
        train(monitor, Translator(), 51)
    assert files_in(tmp_path) == {
        "history.jsonl", "run.json", "summary.json", "tensorboard/events.out.tfevents",
    }  # fmt: skip
    assert [line["metadata"]["step"] for line in history(tmp_path)] == [0, 50]
    assert len(history(tmp_path)[0]["decoder"]) == 4, "all layers, not only the first and last"
    check_outputs(tmp_path)


def test_every_other_kind_of_picture_is_drawn_when_it_is_asked_for(tmp_path: Path) -> None:
    kinds = ["alignment", "head_matrix", "rollout", "surface3d", "animation", "timeline"]
    with TrainingAttentionMonitor(
        tmp_path,
        1,
        None,
        kinds,
        layers_to_visualize="all",
        image_format="svg",
        close_timeout=120,
    ) as monitor:
        train(monitor, Translator(), 3)
    cross = {f"decoder_layer{i}_cross_attn_alignment" for i in (0, 1)}
    names = cross | {f"{stem}_3d" for stem in PER_LAYER}
    names |= {f"{kind}_head_matrix" for kind in ("encoder", "decoder_self", "decoder_cross")}
    names |= {"encoder_rollout", "decoder_self_rollout"}
    expected = {f"step_{step}/{name}.svg" for step in range(3) for name in names}
    expected |= {f"step_{step}/maps.safetensors" for step in range(3)}
    expected |= {f"animations/{stem}.png" for stem in PER_LAYER}
    expected |= {
        "timeline.png", "history.jsonl", "run.json", "summary.json",
        "tensorboard/events.out.tfevents",
    }  # fmt: skip
    assert files_in(tmp_path) == expected
    for stem in PER_LAYER:
        with Image.open(tmp_path / "animations" / f"{stem}.png") as film:
            assert getattr(film, "n_frames", 1) == 3
    check_outputs(tmp_path)


def test_maps_of_all_are_of_layers_that_are_not_drawn_as_well(tmp_path: Path) -> None:
    with LightweightAttentionMonitor(tmp_path / "light", 1, maps="all") as monitor:
        train(monitor, Translator(), 1)
    with TrainingAttentionMonitor(tmp_path / "run", 1, layers_to_visualize=[0], maps="all") as full:
        train(full, Translator(), 1)
        remarks = {row.layer: row.why for row in full.coverage()}
    assert remarks == {0: "", 1: "maps only: not in layers_to_visualize"}
    for folder in ("light", "run"):
        maps = load_file(tmp_path / folder / "step_0" / "maps.safetensors")
        assert {name for name in maps if name.endswith("_attn")} == PER_LAYER
        assert all(maps[stem].shape == (4, *maps[stem].shape[1:]) for stem in PER_LAYER)
    pictures = {path.stem for path in tmp_path.rglob("*.png")}
    assert pictures == {stem for stem in PER_LAYER if "layer0" in stem}
    assert len(history(tmp_path / "run")[0]["decoder"]) == 4, "numbers are of all layers"


def test_tensorboards_own_reader_finds_scalars_and_images(tmp_path: Path) -> None:
    with TrainingAttentionMonitor(tmp_path, 2) as monitor:
        train(monitor, Translator(), 5)
    events = tensorboard(tmp_path)
    layers = {f"encoder_layer{i}" for i in (0, 1)}
    layers |= {f"decoder_layer{i}_{kind}" for i in (0, 1) for kind in ("self", "cross")}
    what = ("mean", "std", "entropy", "max_logit")
    scalars = {f"attention/{layer}_{name}" for layer in layers for name in what}
    assert set(events.Tags()["scalars"]) == scalars | {"train/loss", "train/lr"} | {
        f"attnmon/{name}" for name in ("overhead", "dropped", "backlog")
    }
    images = {f"attention/encoder_layer{i}_self" for i in (0, 1)}
    images |= {f"attention/decoder_layer{i}_{kind}" for i in (0, 1) for kind in ("self", "cross")}
    assert set(events.Tags()["images"]) == images
    assert [event.step for event in events.Scalars("train/loss")] == [0, 2, 4]
    recorded = [line["metadata"]["loss"] for line in history(tmp_path)]
    assert [event.value for event in events.Scalars("train/loss")] == pytest.approx(recorded)
    for event in events.Images("attention/decoder_layer1_cross"):
        on_disk = tmp_path / f"step_{event.step}" / "decoder_layer1_cross_attn.png"
        assert len(event.encoded_image_string) < on_disk.stat().st_size / 2
        with Image.open(io.BytesIO(event.encoded_image_string)) as image:
            assert image.size == (event.width, event.height)
            assert max(image.size) < 400


def test_without_tensorboard_there_is_none(tmp_path: Path) -> None:
    with TrainingAttentionMonitor(tmp_path, use_tensorboard=False) as monitor:
        train(monitor, Translator(), 1)
    assert not (tmp_path / "tensorboard").exists()


def test_statistics_have_the_contracts_keys(tmp_path: Path) -> None:
    with TrainingAttentionMonitor(tmp_path) as monitor:
        train(monitor, Translator(), 1)
    document = strict_json((tmp_path / "step_0" / "statistics.json").read_text())
    assert document["metadata"].keys() >= {"step", "epoch", "loss", "timestamp", "lr"}
    assert document["metadata"]["step"] == 0
    assert document["metadata"]["lr"] == 1e-3
    for row in document["encoder"] + document["decoder"]:
        assert row.keys() >= {"layer", "type", "mean", "std", "min", "max", "shape"}
    assert [row["type"] for row in document["decoder"]] == [
        "self_attention", "cross_attention", "self_attention", "cross_attention",
    ]  # fmt: skip
    assert [row["shape"] for row in document["encoder"]] == [[4, 11, 11]] * 2
    assert document["decoder"][1]["shape"] == [4, 9, 11]
    assert history(tmp_path) == [document]


def own_weights(model: Translator, enc: Tensor, dec: Tensor) -> dict[str, Tensor]:
    """The model's own attention weights in float64, asked for layer by layer."""
    model = model.double().eval()
    weights: dict[str, Tensor] = {}

    def ask(stem: str) -> Callable[..., Any]:
        def hook(module: nn.MultiheadAttention, args: Any, kwargs: Any) -> Any:
            kwargs = kwargs | {"need_weights": True, "average_attn_weights": False}
            forward = nn.MultiheadAttention.forward
            weights[stem] = forward(module, *args, **kwargs)[1][0]
            return args, kwargs

        return hook

    for i, layer in enumerate(model.transformer.encoder.layers):
        stem = f"encoder_layer{i}_self_attn"
        layer.self_attn.register_forward_pre_hook(ask(stem), with_kwargs=True)
    for i, layer in enumerate(model.transformer.decoder.layers):
        for name, kind in (("self_attn", "self"), ("multihead_attn", "cross")):
            attention = getattr(layer, name)
            stem = f"decoder_layer{i}_{kind}_attn"
            attention.register_forward_pre_hook(ask(stem), with_kwargs=True)
    mask = nn.Transformer.generate_square_subsequent_mask(dec.shape[1], dtype=torch.float64)
    with torch.no_grad():
        source = model.norm(model.embedding(enc).transpose(1, 2)).transpose(1, 2)
        model.transformer(source, model.embedding(dec), tgt_mask=mask)
    return weights


def test_weights_and_statistics_are_the_models_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Translator()
    for parameter in model.parameters():  # sharpen the attention: zeros would agree by chance
        parameter.data *= 1.3
    enc, dec = batch(), batch(length=9)
    with TrainingAttentionMonitor(
        tmp_path, layers_to_visualize="all", save_raw_weights=True
    ) as monitor:
        monitor.log_attention(model, enc[:1], dec[:1], 0)
    written = load_file(tmp_path / "step_0" / "attention_weights.safetensors")
    document = strict_json((tmp_path / "step_0" / "statistics.json").read_text())
    rows = {
        f"{stack}_layer{row['layer']}_{row['type'].removesuffix('_attention')}_attn": row
        for stack in ("encoder", "decoder")
        for row in document[stack]
    }
    expected = own_weights(model, enc[:1], dec[:1])
    assert written.keys() == expected.keys() == rows.keys() == PER_LAYER
    for stem, weights in expected.items():
        torch.testing.assert_close(written[stem].double(), weights, rtol=0, atol=1e-5)
        assert written[stem].sum(-1).allclose(torch.ones(()), atol=1e-5)
        assert rows[stem]["mean"] == pytest.approx(weights.mean().item(), abs=1e-5)
        assert rows[stem]["std"] == pytest.approx(weights.std(correction=0).item(), abs=1e-5)
        assert rows[stem]["min"] == pytest.approx(weights.min().item(), abs=1e-5)
        assert rows[stem]["max"] == pytest.approx(weights.max().item(), abs=1e-5)


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (LanguageModel(), (batch(), None)),
        (LanguageModel(), ((batch(),), None)),
        (LanguageModel(), ({"tokens": batch()}, None)),
        (Translator(), (batch(), batch(length=9))),
        (Translator(), ((batch(), batch(length=9)), None)),
        (Translator(), ({"source": batch()}, {"target": batch(length=9)})),
    ],
    ids=["tensor", "tuple", "dict", "tensor-tensor", "tuple of two", "dict-dict"],
)
def test_inputs_are_tensors_tuples_or_dicts(
    model: nn.Module, inputs: tuple[Any, Any], tmp_path: Path
) -> None:
    with TrainingAttentionMonitor(tmp_path) as monitor:
        monitor.log_attention(model, *inputs, step=0)
    assert summary(tmp_path)["rendered"] == 1


def test_decoder_only_and_encoder_only_models(tmp_path: Path) -> None:
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    with TrainingAttentionMonitor(tmp_path / "gpt") as monitor:
        monitor.log_attention(LanguageModel(), batch(), step=0)
    with TrainingAttentionMonitor(tmp_path / "bert") as monitor:
        monitor.log_attention(nn.TransformerEncoder(layer, 2), torch.randn(4, 7, 32), step=0)
    (gpt,) = history(tmp_path / "gpt")
    (bert,) = history(tmp_path / "bert")
    assert (len(gpt["encoder"]), len(gpt["decoder"])) == (0, 2)
    assert (len(bert["encoder"]), len(bert["decoder"])) == (2, 0)


def test_only_the_chosen_sample_layers_and_heads_are_taken(tmp_path: Path) -> None:
    model, tokens = LanguageModel(layers=5), batch()
    with TrainingAttentionMonitor(
        tmp_path, 1, None, ["heatmap", "multi_head"], [1, -1], [0, 3],
        batch_idx_to_visualize=2, save_raw_weights=True,
    ) as monitor:  # fmt: skip
        monitor.log_attention(model, tokens, step=0)
        monitor.log_attention(model, tokens[2:3], step=1)
    both = [
        load_file(tmp_path / f"step_{step}" / "attention_weights.safetensors") for step in (0, 1)
    ]
    assert both[0].keys() == {"decoder_layer1_self_attn", "decoder_layer4_self_attn"}
    for name, weights in both[0].items():
        assert weights.shape == (2, 11, 11)
        torch.testing.assert_close(weights, both[1][name])
    (first, second) = history(tmp_path)
    assert first["decoder"][0]["head_indices"] == [0, 3]
    assert (first["metadata"]["sample"], second["metadata"]["sample"]) == (2, 0)


def test_weights_the_user_has_are_drawn_with_the_others(tmp_path: Path) -> None:
    mine = torch.softmax(torch.randn(4, 2, 5, 6), -1)
    with TrainingAttentionMonitor(
        tmp_path, 2, layers_to_visualize="all", save_raw_weights=True
    ) as monitor:
        for step in range(3):
            monitor.record("mine.cross_attn", weights=mine)
            monitor.log_attention(LanguageModel(), batch(), step=step)
    assert [line["metadata"]["step"] for line in history(tmp_path)] == [0, 2]
    row = next(row for row in history(tmp_path)[0]["decoder"] if row["name"] == "mine.cross_attn")
    assert (row["type"], row["source"], row["shape"]) == ("cross_attention", "recorded", [2, 5, 6])
    written = load_file(tmp_path / "step_2" / "attention_weights.safetensors")
    torch.testing.assert_close(written["decoder_layer0_cross_attn"], mine[0])


def test_weights_that_are_no_softmax_are_drawn_and_said_to_be_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with TrainingAttentionMonitor(tmp_path) as monitor:
        monitor.record("mine", weights=3 * torch.rand(4, 2, 5, 5))
        monitor.log_attention(step=0)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "do not sum to 1" in warning
    assert "(mine)" in warning


def test_handwritten_attention_has_the_statistics_of_the_fused_kernel(tmp_path: Path) -> None:
    """It comes as weights, without the mask: which keys were allowed is seen from them."""

    class ByHand(LanguageModel):
        def forward(self, tokens: Tensor) -> Tensor:
            hidden = self.embedding(tokens)
            for block in self.blocks:
                size, length, width = hidden.shape
                query, key, value = (
                    part.view(size, length, block.heads, -1).transpose(1, 2)
                    for part in block.projection(hidden).split(width, -1)
                )
                later = torch.ones(length, length, dtype=torch.bool).triu(1)
                logits = query @ key.mT / query.shape[-1] ** 0.5
                weights = logits.masked_fill(later, -math.inf).softmax(-1)
                hidden = hidden + (weights @ value).transpose(1, 2).reshape(size, length, width)
            output: Tensor = self.head(hidden)
            return output

    torch.manual_seed(0)
    fused = LanguageModel()
    by_hand = ByHand()
    by_hand.load_state_dict(fused.state_dict())
    rows = {}
    for name, model in {"fused": fused, "by hand": by_hand}.items():
        with TrainingAttentionMonitor(tmp_path / name) as monitor:
            monitor.log_attention(model, batch(), step=0)
        rows[name] = history(tmp_path / name)[0]["decoder"]
    for one, other in zip(rows["fused"], rows["by hand"], strict=True):
        assert one["source"] != other["source"]
        for statistic in ("entropy", "effective_keys", "first_token", "distance", "diagonal"):
            assert other["heads"][statistic] == pytest.approx(one["heads"][statistic], abs=1e-5)
        assert other["std"] == pytest.approx(one["std"], abs=1e-6)


def test_labels_that_fit_nothing_cost_the_labels_and_not_the_capture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ids: Any = batch()[0]
    with TrainingAttentionMonitor(tmp_path, 1) as monitor:
        monitor.log_attention(LanguageModel(), batch(), step=0, tokens=ids)
        monitor.log_attention(LanguageModel(), batch(), step=1, tokens=["a"] * 11)
        monitor.log_attention(LanguageModel(), batch(), step=2, tokens=lambda: ["a"] * 5)
    assert summary(tmp_path)["rendered"] == 3
    assert "give a list of strings, not a Tensor" in caplog.records[0].getMessage()


def test_a_forgotten_decoder_input_is_pointed_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    anything: Any = LanguageModel()
    with TrainingAttentionMonitor(tmp_path) as monitor:
        monitor.log_attention(anything, batch(), 0, 0.53)
        monitor.log_attention(batch(), batch(), step=0)
    first, second = (record.getMessage() for record in caplog.records)
    assert "step=0.53 is no whole number" in first
    assert "log_attention(model, x, step=step, loss=loss)" in first
    assert "must be the model" in second


def test_a_step_in_the_place_of_the_decoder_s_input_is_taken_for_the_step_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with LightweightAttentionMonitor(tmp_path, 2) as monitor:
        for step in (4, 5, 6):
            monitor.log_attention(LanguageModel(), batch(), step)
    assert [line["metadata"]["step"] for line in history(tmp_path)] == [4, 6]
    [said] = (record.getMessage() for record in caplog.records)
    assert "taken for the step. Say log_attention(model, x, step=4)" in said


def test_recorded_weights_alone_are_enough(tmp_path: Path) -> None:
    with TrainingAttentionMonitor(tmp_path) as monitor:
        monitor.record("encoder.0", weights=torch.softmax(torch.randn(4, 7, 7), -1))
        monitor.log_attention(step=0, loss=1.0)
    (line,) = history(tmp_path)
    assert [row["shape"] for row in line["encoder"]] == [[1, 7, 7]]


def test_it_can_be_switched_off_and_on(tmp_path: Path) -> None:
    model = LanguageModel()
    with TrainingAttentionMonitor(tmp_path, 1) as monitor:
        for step in range(6):
            monitor.disable() if step in (2, 3) else monitor.enable()
            monitor.log_attention(model, batch(), step=step)
    assert [line["metadata"]["step"] for line in history(tmp_path)] == [0, 1, 4, 5]
    assert not monitor.enabled


def test_without_a_step_the_calls_are_counted(tmp_path: Path) -> None:
    with TrainingAttentionMonitor(tmp_path, 2) as monitor:
        for _ in range(5):
            monitor.log_attention(LanguageModel(), batch())
    assert [line["metadata"]["step"] for line in history(tmp_path)] == [0, 2, 4]


def test_closing_again_returns_the_same_accounts_and_logs_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "attnmon")
    monitor = TrainingAttentionMonitor(tmp_path)
    monitor.log_attention(LanguageModel(), batch(), step=0)
    first = monitor.close()
    assert monitor.close() == first
    monitor.log_attention(LanguageModel(), batch(), step=100)
    assert monitor.close()["captured"] == 1
    (line,) = [r.getMessage() for r in caplog.records if "captured," in r.getMessage()]
    assert "1 captured, 1 rendered, 0 dropped, 0 failed" in line
    assert str(tmp_path) in line


def test_a_chosen_epoch_that_begins_among_steps_that_are_passed_over_is_captured(
    tmp_path: Path,
) -> None:
    with TrainingAttentionMonitor(tmp_path, 100, save_on_epochs=[1]) as monitor:
        train(monitor, Translator(), 31, epoch_length=10)
    assert [line["metadata"]["step"] for line in history(tmp_path)] == [0, 10]


def test_a_step_that_is_logged_after_the_end_is_pointed_out_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TrainingAttentionMonitor(tmp_path) as monitor:
        pass
    for step in range(3):
        monitor.log_attention(LanguageModel(), batch(), step=step)
    assert [r.getMessage() for r in caplog.records] == [
        "a step was logged after close(): nothing is captured."
    ]
    monkeypatch.setenv("ATTNMON_DISABLE", "1")
    with TrainingAttentionMonitor(tmp_path) as monitor:
        pass
    monitor.log_attention(LanguageModel(), batch(), step=0)
    assert len(caplog.records) == 1, "who has it switched off wants to hear nothing"


def test_a_renderer_that_was_never_given_anything_is_not_waited_for(tmp_path: Path) -> None:
    monitor = TrainingAttentionMonitor(tmp_path, 1, use_tensorboard=False)
    pid = monitor._session._connection.renderer.process.pid  # type: ignore[union-attr]
    os.kill(pid, signal.SIGSTOP)  # it would never end
    accounts = monitor.close()
    assert not Path(f"/proc/{pid}").exists()
    assert (accounts["captured"], accounts["off"]) == (0, None)
    left = summary(tmp_path)
    assert (left["state"], left["captured"], left["pids"]) == ("closed", 0, [])
    assert left["versions"]["torch"] == torch.__version__
    assert os.listdir(tmp_path) == ["summary.json"]


def test_the_summary_is_kept_while_the_run_goes_on(tmp_path: Path) -> None:
    import time

    monitor = TrainingAttentionMonitor(tmp_path, 1)
    monitor.log_attention(LanguageModel(), batch(), step=0)
    deadline = time.monotonic() + 30
    while not (tmp_path / "summary.json").exists() or summary(tmp_path)["rendered"] < 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    while_running = summary(tmp_path)
    assert while_running["state"] == "running"
    for pid in while_running["pids"]:
        assert Path(f"/proc/{pid}").exists()
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert "libtorch" not in maps, "the renderer has loaded torch"
    assert len(while_running["pids"]) >= 3
    assert while_running["versions"].keys() >= {"attnmon", "torch", "matplotlib"}
    accounts = monitor.close()
    afterwards = summary(tmp_path)
    assert afterwards["state"] == "closed"
    assert afterwards["hook_seconds"] == accounts["hook_seconds"] > 0


def test_the_trainer_runs_no_extra_thread_or_process_of_its_own(tmp_path: Path) -> None:
    import os

    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    model = LanguageModel()
    model(batch())
    before = threads()
    with TrainingAttentionMonitor(tmp_path, 1) as monitor:
        for step in range(3):
            monitor.log_attention(model, batch(), step=step)
            assert threads() == before


def script(tmp_path: Path, body: str) -> subprocess.CompletedProcess[str]:
    prelude = f"""
        monitor = TrainingAttentionMonitor({str(tmp_path)!r}, 1)
        model = LanguageModel()
    """
    return run_training(textwrap.dedent(prelude) + textwrap.dedent(body))


def test_a_forgotten_close_still_draws_everything(tmp_path: Path) -> None:
    out = script(tmp_path, "for n in range(5): monitor.log_attention(model, batch(), step=n)")
    assert (out.returncode, out.stderr) == (0, "")
    assert summary(tmp_path)["rendered"] == 5
    check_outputs(tmp_path)


@pytest.mark.parametrize("captures", [1, 7])
def test_all_that_was_captured_is_drawn_after_kill_9(captures: int, tmp_path: Path) -> None:
    import time

    out = script(
        tmp_path,
        f"""
        for n in range({captures}): monitor.log_attention(model, batch(), step=n, loss=1.0)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    assert out.returncode == -9
    deadline = time.monotonic() + 40
    while not (tmp_path / "summary.json").exists() or summary(tmp_path)["pids"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert summary(tmp_path)["state"] == "trainer lost"
    assert summary(tmp_path)["last_step"] == captures - 1
    assert [line["metadata"]["step"] for line in history(tmp_path)] == list(range(captures))
    assert len(list(tmp_path.glob("step_*/*.png"))) == 2 * captures
    check_outputs(tmp_path)


def test_an_exit_code_and_a_traceback_stay_as_they_were(tmp_path: Path) -> None:
    out = script(tmp_path, "monitor.log_attention(model, batch(), step=0)\nsys.exit(3)")
    assert (out.returncode, out.stdout, out.stderr) == (3, "", "")
    out = script(tmp_path / "b", "raise RuntimeError('the user has a bug')")
    assert out.returncode == 1
    assert out.stderr.endswith("RuntimeError: the user has a bug\n")


def test_it_can_be_switched_off_from_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTNMON_DISABLE", "1")
    with TrainingAttentionMonitor(tmp_path) as monitor:
        monitor.log_attention(LanguageModel(), batch(), step=0)
        assert not monitor.enabled
    assert files_in(tmp_path) == set()


def run_with_trouble(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, trouble: Callable[[Any, int], None]
) -> list[str]:
    """Three due steps of trouble; what was warned about."""
    with TrainingAttentionMonitor(tmp_path, 1) as monitor:
        for step in range(3):
            trouble(monitor, step)
    check_outputs(tmp_path)
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_loss_that_is_nan(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = LanguageModel()
    warning, alert = run_with_trouble(
        tmp_path, caplog, lambda m, step: m.log_attention(model, batch(), None, step, math.nan)
    )
    assert "loss is nan at step 0" in warning
    assert "error at step 0: The loss is NaN" in alert
    assert [line["metadata"]["loss"] for line in history(tmp_path)] == [None] * 3
    assert summary(tmp_path)["rendered"] == 3


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_attention_that_is_not_finite(
    value: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = LanguageModel()
    with torch.no_grad():
        model.embedding.weight[int(batch()[0, 5])] = value
    warning, alert = run_with_trouble(
        tmp_path, caplog, lambda m, step: m.log_attention(model, batch(), step=step)
    )
    assert "NaN or infinite at step 0 in decoder layer 0" in warning
    assert "learning rate" in warning
    assert "error at step 0: " in alert
    assert summary(tmp_path)["rendered"] == 3
    assert history(tmp_path)[0]["decoder"][0]["mean"] is None


def test_a_sequence_of_no_length(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = LanguageModel()
    warnings = run_with_trouble(
        tmp_path, caplog, lambda m, step: m.log_attention(model, batch(length=0), step=step)
    )
    assert "is empty: 0 queries and 0 keys" in warnings[0]
    assert summary(tmp_path)["failed"] == 3


def test_a_last_batch_that_is_smaller(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = LanguageModel()
    with TrainingAttentionMonitor(tmp_path, 1, batch_idx_to_visualize=3) as monitor:
        for step, size in enumerate((4, 4, 2, 1)):
            monitor.log_attention(model, batch(size), step=step)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "batch_idx_to_visualize=3, but a batch had only 2" in warning
    assert [line["metadata"]["sample"] for line in history(tmp_path)] == [3, 3, 1, 0]


def test_a_model_without_attention(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = nn.Linear(4, 4)
    warnings = run_with_trouble(
        tmp_path, caplog, lambda m, step: m.log_attention(model, torch.randn(2, 4), step=step)
    )
    assert "no attention was seen in Linear: 0 layers" in warnings[0]
    assert "monitor.record" in warnings[0]
    assert len(warnings) == 2
    assert "off from now on" in warnings[1]
    assert summary(tmp_path)["captured"] == 0


def test_inputs_the_model_does_not_take(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = Translator()
    warnings = run_with_trouble(
        tmp_path, caplog, lambda m, step: m.log_attention(model, batch(), step=step)
    )
    assert "forward() missing 1 required positional argument: 'target'" in warnings[0]
    assert "Models are called as model(enc, dec)" in warnings[0]
    assert "training goes on" in warnings[-1]
    accounts = summary(tmp_path)
    assert (accounts["captured"], accounts["failed"]) == (3, 3)


def test_layers_and_heads_that_do_not_exist(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with TrainingAttentionMonitor(
        tmp_path, 1, layers_to_visualize=[0, 9], heads_to_visualize=[1, 7]
    ) as monitor:
        monitor.log_attention(LanguageModel(), batch(), step=0)
    heads, layers = (record.getMessage() for record in caplog.records)
    assert "heads_to_visualize=[1, 7]" in heads
    assert "0 … 3" in heads
    assert "there is no layer 9" in layers
    assert "decoder self_attention 0 … 1" in layers
    assert [row["head_indices"] for row in history(tmp_path)[0]["decoder"]] == [[1]]


def test_a_capture_that_no_ring_can_hold_is_failed_and_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with TrainingAttentionMonitor(tmp_path, 1, ring_bytes=1 << 18) as monitor:
        monitor.log_attention(LanguageModel(), batch(length=4000), step=0)
        monitor.log_attention(LanguageModel(), batch(), step=1)
    assert "raise ring_bytes" in caplog.records[0].getMessage()
    accounts = summary(tmp_path)
    assert (accounts["captured"], accounts["failed"], accounts["dropped"]) == (2, 1, 0)


def test_a_capture_larger_than_the_ring_makes_it_grow_and_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As with a context of many thousand tokens, and the default ring.

    Without a budget: on a busy machine it would skip the later steps.
    """
    monkeypatch.setattr(startup, "DEFAULT_BYTES", SMALLEST_BYTES)
    model = LanguageModel()
    with TrainingAttentionMonitor(tmp_path, 1, on_full="wait", max_overhead=None) as monitor:
        ring = monitor._session._producer.ring  # type: ignore[union-attr]
        sizes = []
        for step, length in enumerate((11, 2000, 6000, 11)):
            monitor.log_attention(model, batch(1, length), step=step)
            sizes.append(ring.reserved)
    assert sizes == [SMALLEST_BYTES * times for times in (1, 2, 4, 4)]
    accounts = summary(tmp_path)
    assert (accounts["captured"], accounts["rendered"]) == (4, 4)
    lines = [line["decoder"] for line in history(tmp_path)]
    assert [row["shape"][1:] for row in lines[2]] == [[6000, 6000]] * 2
    assert [row["heads"] for row in lines[0]] == [row["heads"] for row in lines[3]]
    assert all(row["row_sum_error"] < 1e-5 for line in lines for row in line)
    [words] = [record.getMessage() for record in caplog.records]
    assert "more than the 1.0 MiB of shared memory set aside" in words
    assert "ring_bytes sets another bound" in words


def test_two_monitors_do_not_disturb_each_other(tmp_path: Path) -> None:
    model = LanguageModel()
    with (
        TrainingAttentionMonitor(tmp_path / "a", 1) as one,
        LightweightAttentionMonitor(tmp_path / "b", 2) as other,
    ):
        for step in range(4):
            one.log_attention(model, batch(), step=step)
            other.log_attention(model, batch(), step=step)
    assert summary(tmp_path / "a")["rendered"] == 4
    assert summary(tmp_path / "b")["rendered"] == 2


def test_a_picture_that_cannot_be_drawn_of_these_layers_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, kinds = LanguageModel(layers=3), ["rollout", "alignment", "statistics"]
    with TrainingAttentionMonitor(tmp_path, 1, visualization_types=kinds) as monitor:
        for step in range(3):
            monitor.log_attention(model, batch(), step=step)
    assert summary(tmp_path)["rendered"] == 3
    assert not list(tmp_path.rglob("*.png"))
    assert caplog.text.count("no rollout is drawn") == 1
    assert caplog.text.count("no alignment is drawn") == 1


@pytest.mark.parametrize("variables", [{"ATTNMON_DISABLE": "1"}, {"RANK": "1", "WORLD_SIZE": "2"}])
def test_a_monitor_that_does_nothing_makes_no_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "above" / "logs"
    with TrainingAttentionMonitor(folder, save_frequency=1) as monitor:
        monitor.log_attention(LanguageModel(), batch(), step=0)
    assert not folder.parent.exists()
    assert monitor.close()["off"]


def test_a_step_that_has_statistics_has_all_its_pictures_and_so_have_those_before(
    tmp_path: Path,
) -> None:
    """Looked at again and again while the renderer works."""
    expected = {"decoder_layer0_self_attn.png", "decoder_layer1_self_attn.png"}
    looks = 0
    with TrainingAttentionMonitor(tmp_path, save_frequency=1, use_tensorboard=False) as monitor:
        model = LanguageModel()
        for step in range(1, 7):
            monitor.log_attention(model, batch(), step=step)
        while monitor._session.accounts()["pending"]:
            complete = sorted(path.parent.name for path in tmp_path.glob("*/statistics.json"))
            assert complete == [f"step_{step}" for step in range(1, len(complete) + 1)]
            for name in complete:
                assert expected <= {path.name for path in (tmp_path / name).iterdir()}
            looks += 1
            monitor._session._producer.wait_for_message(0.01)  # type: ignore[union-attr]
    assert looks
