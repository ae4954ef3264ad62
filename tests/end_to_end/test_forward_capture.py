"""Captures in the model's own forward: the right one, once, and nothing left on the model."""

import contextlib
import copy
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.models import CausalAttention, LanguageModel, Translator, batch
from support.outputs import check_outputs, history, summary
from support.tapping import is_watched
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from attnmon import TrainingAttentionMonitor
from attnmon.capture import compilations

RAW = "attention_weights.safetensors"


class Counting(LanguageModel):
    """Counts its calls, in a place that the probe does not restore."""

    def __init__(self, calls: list[int]) -> None:
        super().__init__()
        self.note = calls.append

    def forward(self, tokens: Tensor) -> Tensor:
        self.note(len(tokens))
        return super().forward(tokens)


def weights_of(model: LanguageModel, tokens: Tensor) -> list[Tensor]:
    """Returns weights in float64, computed beside the model, which must have no dropout."""
    model = copy.deepcopy(model).double()
    hidden = model.embedding(tokens)
    found = []
    for block in model.blocks:
        size, length, width = hidden.shape
        query, key, _ = (
            part.view(size, length, block.heads, -1).transpose(1, 2)
            for part in block.projection(hidden).split(width, -1)
        )
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        logits = (query @ key.mT / query.shape[-1] ** 0.5).masked_fill(later, -torch.inf)
        found.append(logits.softmax(-1))
        hidden = hidden + block(hidden)
    return found


def step_of(model: nn.Module, tokens: Tensor) -> None:
    model(tokens).logsumexp(-1).mean().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * (0 if parameter.grad is None else parameter.grad)
            parameter.grad = None


def test_only_the_first_captures_cost_a_forward_of_their_own(tmp_path: Path) -> None:
    calls: list[int] = []
    model = Counting(calls)
    with TrainingAttentionMonitor(tmp_path, 5) as monitor:
        for step in range(21):
            tokens = batch(seed=step)
            step_of(model, tokens)
            monitor.log_attention(model, tokens, step=step)
    first = [4, 1, 2, 1]  # one sample and two to find the layers, one to look at step 0
    assert calls == first + [4] * 20
    assert [line["metadata"]["step"] for line in history(tmp_path)] == [0, 5, 10, 15, 20]


@pytest.mark.parametrize("mode", ["auto", "probe"])
@pytest.mark.parametrize("every", [1, 5])
def test_what_is_published_is_of_the_step_that_is_logged(
    mode: str, every: int, tmp_path: Path
) -> None:
    """Also when only every fifth step is logged, so that forwards between are captured, too."""
    model = LanguageModel()
    expected = {}
    with TrainingAttentionMonitor(
        tmp_path, 5, save_raw_weights=True, capture=mode, batch_idx_to_visualize=1
    ) as monitor:
        for step in range(11):
            tokens = batch(seed=step)
            before = copy.deepcopy(model)
            step_of(model, tokens)
            if step % every == 0:
                monitor.log_attention(model, tokens, step=step)
            known_stride = every == 1 or step == 10
            own = mode == "auto" and step > 0 and known_stride
            expected[step] = weights_of(before if own else model, tokens)
    for step in (0, 5, 10):
        written = load_file(tmp_path / f"step_{step}" / RAW)
        for layer, weights in enumerate(expected[step]):
            close = written[f"decoder_layer{layer}_self_attn"].double()
            torch.testing.assert_close(close, weights[1], rtol=0, atol=1e-5)


def test_of_several_forwards_in_a_step_the_logged_one_is_taken(tmp_path: Path) -> None:
    """Gradient accumulation, and a validation in between."""
    model = LanguageModel()
    with TrainingAttentionMonitor(tmp_path, 1, capture="forward", save_raw_weights=True) as monitor:
        monitor.attach(model)
        for step in range(3):
            parts = [batch(seed=10 * step + part) for part in range(3)]
            for part in parts:
                model(part).logsumexp(-1).mean().backward()
            with torch.no_grad():
                model(batch(seed=99))
            monitor.log_attention(model, parts[-1], step=step)
    accounts = summary(tmp_path)
    assert (accounts["captured"], accounts["rendered"]) == (3, 3)
    for step in range(3):
        written = load_file(tmp_path / f"step_{step}" / RAW)["decoder_layer0_self_attn"]
        expected = weights_of(model, batch(seed=10 * step + 2))[0][0]
        torch.testing.assert_close(written.double(), expected, rtol=0, atol=1e-5)


class Checkpointed(LanguageModel):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.embedding(tokens)
        for block in self.blocks:
            hidden = hidden + checkpoint(block, hidden, use_reentrant=self.reentrant)
        logits: Tensor = self.head(hidden)
        return logits


@pytest.mark.parametrize("attached", [True, False])
def test_a_whole_model_that_is_checkpointed_is_seen(attached: bool, tmp_path: Path) -> None:
    """Reentrant: its forward runs without gradients, as a validation does, which is not seen."""
    model = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)
    with TrainingAttentionMonitor(tmp_path, 1, capture="forward") as monitor:
        if attached:
            monitor.attach(model)
        for step in range(3):
            x = torch.randn(3, 5, 8, requires_grad=True)
            checkpoint(model, x, use_reentrant=True).sum().backward()
            with torch.no_grad():
                model(x[:2, :3])
            monitor.log_attention(*(() if attached else (model, x)), step=step)
    shapes = [line["encoder"][0]["shape"] for line in history(tmp_path)]
    assert shapes == [[2, 5, 5]] * (3 if attached else 2)


@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpointing_is_looked_at_once(reentrant: bool, tmp_path: Path) -> None:
    model = Checkpointed(reentrant)
    with TrainingAttentionMonitor(tmp_path, 1, capture="forward") as monitor:
        monitor.attach(model)
        for step in range(3):
            tokens = batch(seed=step)
            step_of(model, tokens)
            monitor.log_attention(model, tokens, step=step)
    assert [len(line["decoder"]) for line in history(tmp_path)] == [2, 2, 2]
    check_outputs(tmp_path)


def test_a_model_is_copied_saved_and_exported_as_ever_while_it_is_watched(tmp_path: Path) -> None:
    model, tokens = LanguageModel(), batch()
    with TrainingAttentionMonitor(tmp_path, 1) as monitor:
        monitor.log_attention(model, tokens, step=0)
        assert is_watched(model), "it should be looking on now"
        average, file = copy.deepcopy(model), io.BytesIO()
        torch.save(model, file)
        assert b"attnmon" not in file.getvalue(), "it could not be read where attnmon is not"
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        captured = monitor._counters.captured
        for other in (average, loaded):
            assert torch.equal(other(tokens), model(tokens))
        assert model.to(torch.float64)(tokens).dtype == torch.float64
        assert monitor._counters.captured == captured
        monitor.detach()
        assert not is_watched(model)
        exported = torch.export.export(model, (tokens,))
        assert torch.equal(exported.module()(tokens), model(tokens))


def test_a_model_with_its_monitor_for_an_attribute_is_copied_and_saved(tmp_path: Path) -> None:
    model: Any = LanguageModel()
    with TrainingAttentionMonitor(tmp_path, 1) as monitor:
        model.monitor = monitor
        model.monitor.log_attention(model, batch(), step=0)
        average, file = copy.deepcopy(model), io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        assert average.monitor is monitor
        assert torch.equal(torch.load(file, weights_only=False)(batch()), model(batch()))
        del model.monitor


def test_detaching_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model = Translator()
    before = {name: sorted(vars(module)) for name, module in model.named_modules()}
    monitor = TrainingAttentionMonitor(tmp_path, 1)
    monitor.attach(model)
    monitor.log_attention(model, batch(), batch(length=9), 0)
    monitor.close()
    after = {name: sorted(vars(module)) for name, module in model.named_modules()}
    assert before == after
    assert not is_watched(model)


def test_a_monitor_that_has_switched_itself_off_lets_go_of_the_model(tmp_path: Path) -> None:
    model = LanguageModel()
    with TrainingAttentionMonitor(tmp_path, 1) as monitor:
        monitor.log_attention(model, batch(), step=0)
        assert is_watched(model), "it should be looking on now"
        monitor._guard.switch_off("for a test")
        monitor.log_attention(model, batch(), step=1)
        assert not is_watched(model)


def test_the_block_form_needs_no_attached_model(tmp_path: Path) -> None:
    model = LanguageModel()
    with TrainingAttentionMonitor(tmp_path, 2, layers_to_visualize="all") as monitor:
        for step in range(5):
            with monitor.capture(step):
                loss = model(batch(seed=step)).logsumexp(-1).mean()
            monitor.log_attention(step=step, loss=loss.item())
    lines = history(tmp_path)
    assert [line["metadata"]["step"] for line in lines] == [0, 2, 4]
    assert [len(line["decoder"]) for line in lines] == [2, 2, 2]
    assert all(line["metadata"]["loss"] for line in lines)


class Meeting(LanguageModel):
    """Two threads are in the forward at once; the first to enter is the first to leave."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = threading.Barrier(2)
        self.first_has_left = threading.Event()

    def forward(self, tokens: Tensor) -> Tensor:
        self.inside.wait()
        if len(tokens) == 2:
            self.first_has_left.wait()
        return super().forward(tokens)


def test_of_forwards_on_several_threads_one_is_looked_at(tmp_path: Path) -> None:
    """The copies are made as DataParallel makes them."""
    model, failures = Meeting(), list[BaseException]()
    with TrainingAttentionMonitor(tmp_path, 1, capture="forward") as monitor:
        monitor.attach(model)

        def second() -> None:
            try:
                model(batch(size=2))
                assert torch.overrides._len_torch_function_stack() == 0
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=second, daemon=True)
        model.register_forward_pre_hook(lambda module, args: entered(thread, args))
        model(batch(size=4))
        assert torch.overrides._len_torch_function_stack() == 0
        model.first_has_left.set()
        thread.join()
        monitor.log_attention(model, step=0)
    assert failures == []
    assert summary(tmp_path)["rendered"] == 1


def entered(thread: threading.Thread, args: Any) -> None:
    """Start the second thread when the first is in the forward."""
    if len(args[0]) == 4:
        thread.start()


def test_the_block_form_takes_the_sample_asked_for(tmp_path: Path) -> None:
    model, tokens = LanguageModel(), batch()
    expected = weights_of(model, tokens)[0][2]
    with TrainingAttentionMonitor(
        tmp_path, save_raw_weights=True, batch_idx_to_visualize=2
    ) as monitor:
        for step, inputs in ((0, tokens), (100, None)):
            with monitor.capture(step, inputs):
                model(tokens)
            monitor.log_attention(step=step)
    for step in (0, 100):
        written = load_file(tmp_path / f"step_{step}" / RAW)["decoder_layer0_self_attn"]
        torch.testing.assert_close(written.double(), expected, rtol=0, atol=1e-5)
    assert [line["metadata"]["sample"] for line in history(tmp_path)] == [2, 2]


def test_an_error_of_ours_does_not_leave_the_block(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = LanguageModel()
    with TrainingAttentionMonitor(tmp_path, 1, ring_bytes=1 << 16) as monitor:
        with monitor.capture(0):
            model(batch(size=1, length=2000))
        monitor.log_attention(step=0)
    assert "does not fit the ring" in caplog.text
    assert (summary(tmp_path)["captured"], summary(tmp_path)["failed"]) == (1, 1)


def test_a_step_can_be_asked_for(tmp_path: Path) -> None:
    model = LanguageModel()
    with TrainingAttentionMonitor(tmp_path, capture="forward") as monitor:
        monitor.attach(model)
        for step in range(1, 6):
            if step in (1, 4):
                monitor.capture_next()
            model(batch(seed=step))
            monitor.log_attention(model, step=step)
    assert [line["metadata"]["step"] for line in history(tmp_path)] == [1, 4]


def test_an_epoch_is_no_surprise_to_a_block_that_is_told_of_it(tmp_path: Path) -> None:
    model = LanguageModel()
    with TrainingAttentionMonitor(tmp_path, 100, [1], capture="forward") as monitor:
        for step in range(6):
            with monitor.capture(step, epoch=step // 3):
                model(batch(seed=step))
            monitor.log_attention(model, step=step, epoch=step // 3)
    folders = sorted(path.name for path in tmp_path.glob("*step_*"))
    assert folders == ["epoch_1_step_3", "step_0"]


def test_an_error_in_the_users_forward_is_the_users_and_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    model = LanguageModel()
    modes = torch.overrides._len_torch_function_stack()
    with TrainingAttentionMonitor(tmp_path, 1) as monitor:
        monitor.attach(model)
        with pytest.raises(IndexError):
            model(batch() + 10_000)
        assert torch.overrides._len_torch_function_stack() == modes
        step_of(model, batch())
        monitor.log_attention(model, batch(), step=0)
        with pytest.raises(ZeroDivisionError), monitor.capture(1):
            raise ZeroDivisionError
        assert torch.overrides._len_torch_function_stack() == modes
    assert summary(tmp_path)["rendered"] == 1


class Interrupted(nn.Module):
    """Ctrl-C, or `sys.exit`, arrives in the middle of an attention layer."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention
        self.by: BaseException | None = None

    def forward(self, hidden: Tensor) -> Tensor:
        mixed: Tensor = self.attention(hidden)
        if self.by is not None:
            raise self.by
        return mixed


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(2)], ids=repr)
def test_after_a_forward_that_was_cut_short_the_next_one_is_looked_at_again(
    error: BaseException, tmp_path: Path
) -> None:
    model = LanguageModel()
    model.blocks[1] = middle = Interrupted(model.blocks[1])
    with TrainingAttentionMonitor(tmp_path, 1, capture="auto") as monitor:
        for step in range(6):
            middle.by = error if step == 3 else None
            tokens = batch(seed=step)
            with pytest.raises(type(error)) if step == 3 else contextlib.nullcontext():
                step_of(model, tokens)
            if step != 3:
                monitor.log_attention(model, tokens, step=step)
        monitor.detach()
        assert not torch.overrides._get_current_function_mode_stack()
        assert not is_watched(model)
    ways = {line["metadata"]["step"]: line["metadata"]["seen_in"] for line in history(tmp_path)}
    assert ways == {0: "probe", 1: "forward", 2: "forward", 4: "forward", 5: "forward"}


class Recursive(LanguageModel):
    """Calls itself once, on half of the tokens."""

    def forward(self, tokens: Tensor) -> Tensor:
        whole = super().forward(tokens)
        half = tokens.shape[1] // 2
        return whole if half < 5 else whole + self(tokens[:, :half]).mean()


def test_a_model_that_calls_itself_is_looked_at_to_its_own_end(tmp_path: Path) -> None:
    model = Recursive()
    with TrainingAttentionMonitor(tmp_path, 1, layers_to_visualize="all") as monitor:
        for step in range(4):
            tokens = batch(length=11, seed=step)
            step_of(model, tokens)
            monitor.log_attention(model, tokens, step=step)
    found = [(len(line["decoder"]), line["metadata"]["seen_in"]) for line in history(tmp_path)]
    assert found == [(4, "probe")] + [(4, "forward")] * 3


def test_where_no_extra_forward_may_be_made_a_missed_step_is_made_up_for(tmp_path: Path) -> None:
    calls: list[int] = []
    model = Counting(calls)
    with TrainingAttentionMonitor(tmp_path, 10, [1], capture="forward") as monitor:
        for step in range(21):
            step_of(model, batch(seed=step))
            monitor.log_attention(model, batch(seed=step), step=step, epoch=step // 15)
    assert calls == [4] * 21
    folders = sorted(path.name for path in tmp_path.glob("*step_*"))
    assert folders == ["epoch_1_step_16", "step_1", "step_10", "step_20"]


@contextmanager
def no_recompilation() -> Iterator[None]:
    torch._dynamo.config.error_on_recompile = True
    try:
        yield
    finally:
        torch._dynamo.config.error_on_recompile = False


@pytest.mark.parametrize("how", ["torch.compile", "module.compile"])
def test_a_compiled_model_is_probed_and_never_compiled_again(how: str, tmp_path: Path) -> None:
    torch._dynamo.reset()
    plain = LanguageModel()
    model: Any = plain
    if how == "torch.compile":
        model = torch.compile(plain, backend="aot_eager")
    else:
        plain.compile(backend="aot_eager")
    step_of(model, batch())
    with (
        no_recompilation(),
        TrainingAttentionMonitor(tmp_path, 1, layers_to_visualize="all") as monitor,
    ):
        for step in range(4):
            tokens = batch(seed=step)
            step_of(model, tokens)
            monitor.log_attention(model, tokens, step=step)
    lines = history(tmp_path)
    assert [[row["name"] for row in line["decoder"]] for line in lines] == [
        ["blocks.0", "blocks.1"]
    ] * 4


@torch.compile(backend="aot_eager")
def sharpened(logits: Tensor) -> Tensor:
    return logits.relu() * 2


class WithCompiledFunction(LanguageModel):
    def forward(self, tokens: Tensor) -> Tensor:
        return sharpened(super().forward(tokens))


class Hiding(LanguageModel):
    """What it calls is found only while it runs."""

    def forward(self, tokens: Tensor) -> Tensor:
        function: Any = globals()["".join(["sharp", "ened"])]
        logits: Tensor = function(super().forward(tokens))
        return logits


def trained(model: nn.Module, monitor: TrainingAttentionMonitor, steps: int) -> list[int]:
    """How much was compiled by the end of each step."""
    monitor.attach(model)
    counts = []
    for step in range(steps):
        tokens = batch(seed=step)
        step_of(model, tokens)
        monitor.log_attention(model, tokens, step=step)
        counts.append(compilations())
    return counts


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # which the compiler reads
def test_an_attached_model_that_names_a_compiled_function_is_probed(tmp_path: Path) -> None:
    torch._dynamo.reset()
    step_of(WithCompiledFunction(), batch())
    before = compilations()
    with no_recompilation(), TrainingAttentionMonitor(tmp_path, 2) as monitor:
        counts = trained(WithCompiledFunction(), monitor, 5)
    assert counts == [before] * 5
    assert [line["metadata"]["step"] for line in history(tmp_path)] == [0, 2, 4]


def test_a_forward_that_turns_out_to_be_compiled_is_left_alone_from_then_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The model is compiled again once for the capture and once without it, then never again."""
    torch._dynamo.reset()
    with warnings.catch_warnings(), TrainingAttentionMonitor(tmp_path, 1) as monitor:
        warnings.simplefilter("ignore")  # of the compiler, about our code that it looks into
        counts = trained(Hiding(), monitor, 5)
    assert counts[0] < counts[1] == counts[-1]
    assert [line["metadata"]["step"] for line in history(tmp_path)] == [0, 1, 2, 3, 4]
    assert caplog.text.count("runs compiled code, which was compiled once more") == 1


def test_a_block_around_compiled_code_is_looked_at_once(tmp_path: Path) -> None:
    torch._dynamo.reset()
    model, counts = Hiding(), []
    with warnings.catch_warnings(), TrainingAttentionMonitor(tmp_path, 1) as monitor:
        warnings.simplefilter("ignore")
        for step in range(4):
            tokens = batch(seed=step)
            with monitor.capture(step, tokens):
                step_of(model, tokens)
            monitor.log_attention(model, tokens, step=step)
            counts.append(compilations())
    assert counts[0] < counts[1] == counts[-1]
    assert summary(tmp_path)["rendered"] == 4


def test_where_neither_way_is_open_it_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = LanguageModel()
    model.compile(backend="aot_eager")
    with TrainingAttentionMonitor(tmp_path, 1, capture="forward") as monitor:
        for step in range(3):
            monitor.log_attention(model, batch(), step=step)
    assert caplog.text.count("0 layers are captured") == 1
    assert "use capture='auto'" in caplog.text
    assert summary(tmp_path)["captured"] == 0


class Windowed(LanguageModel):
    """Each text is two windows, attended each by itself."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens.unflatten(1, (2, -1)).flatten(0, 1))


class Loud(torch.overrides.TorchFunctionMode):
    """A hook that is not ours: attention returns half as much again."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        return result * 1.5 if func is nn.functional.scaled_dot_product_attention else result


@pytest.mark.parametrize("capture", ["probe", "forward"])
def test_a_note_says_that_a_window_is_shown_and_that_its_output_is_another(
    capture: Any, tmp_path: Path
) -> None:
    model, tokens = Windowed(), batch(length=12)
    with Loud(), TrainingAttentionMonitor(tmp_path, 1, capture=capture) as monitor:
        monitor.attach(model)
        step_of(model, tokens)
        monitor.log_attention(model, tokens, step=0)
        assert {row.why for row in monitor.coverage()} == {
            "only the first of 2 windows of this sample"
        }
    [line] = history(tmp_path)
    for row in line["decoder"]:
        assert row["shape"] == [4, 6, 6]
        assert row["note"] == (
            "only the first of 2 windows of this sample; "
            "the weights explain the layer's output only to 0.3"
        )
        assert row["error"] == pytest.approx(1 / 3, abs=1e-5)


class WindowsByHand(nn.Module):
    """Attention in windows as Swin writes it: relative bias, and a mask by window."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(100, 8), nn.Linear(8, 2)
        self.qkv, self.bias = nn.Linear(8, 24), nn.Parameter(torch.randn(2, 4, 4))
        mask = torch.zeros(3, 4, 4)
        mask[2, :2, 2:] = mask[2, 2:, :2] = -100.0
        self.register_buffer("mask", mask)

    def scores(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Returns those of all windows, and the values."""
        windows = self.embedding(tokens).view(-1, 4, 8)
        query, key, value = self.qkv(windows).view(-1, 4, 3, 2, 4).permute(2, 0, 3, 1, 4)
        scores = (query * 9) @ key.transpose(-2, -1) + self.bias
        masked = scores.view(-1, 3, 2, 4, 4) + self.mask[:, None]
        return masked.view(-1, 2, 4, 4), value

    def forward(self, tokens: Tensor) -> Tensor:
        scores, value = self.scores(tokens)
        mixed = scores.softmax(-1) @ value
        return self.head(mixed.transpose(1, 2).reshape(len(tokens), 12, 8))  # type: ignore[no-any-return]


@pytest.mark.parametrize("capture", ["probe", "forward"])
def test_the_logits_of_windows_are_those_of_the_window_that_is_shown(
    capture: Any, tmp_path: Path
) -> None:
    model, tokens = WindowsByHand(), batch(length=12)
    with TrainingAttentionMonitor(
        tmp_path, 1, capture=capture, batch_idx_to_visualize=1, roles={"*": "encoder_self"}
    ) as monitor:
        monitor.attach(model)
        for step in range(3):
            model(tokens).sum().backward()
            monitor.log_attention(model, tokens, step=step)
    expected = model.double().scores(tokens)[0][3].amax((-1, -2))
    lines = history(tmp_path)
    assert len(lines) == 3
    for line in lines:
        (row,) = line["encoder"]
        assert row["note"].startswith("only the first of 3 windows of this sample")
        assert row["heads"]["max_logit"] == pytest.approx(expected.tolist(), rel=1e-5)


def test_coverage_says_of_each_layer_whether_and_why_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "attnmon")
    with TrainingAttentionMonitor(
        tmp_path,
        1,
        layers_to_visualize=["*.decoder.*", 0],
        roles={"*.layers.1.multi*": "encoder_self"},
    ) as monitor:
        assert monitor.coverage() == ()
        monitor.log_attention(Translator(), batch(), batch(length=9), 0)
        rows = {row.name.removeprefix("transformer."): row for row in monitor.coverage()}
    assert rows["encoder.layers.0.self_attn"].captured
    left_out = rows["encoder.layers.1.self_attn"]
    assert (left_out.captured, left_out.why) == (False, "not in layers_to_visualize")
    moved = rows["decoder.layers.1.multihead_attn"]
    assert (moved.stack, moved.type, moved.captured) == ("encoder", "self_attention", True)
    assert {row.source for row in rows.values()} == {"scaled_dot_product_attention"}
    table = next(r.getMessage() for r in caplog.records if "the attention of" in r.getMessage())
    assert table.count("\n") == 1 + len(rows)
    assert "no: not in layers_to_visualize" in table


class Restless(LanguageModel):
    """Attention that is called from outside its module, or not in every forward."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.forwards = 0

    def forward(self, tokens: Tensor) -> Tensor:
        self.forwards += self.training
        hidden = self.embedding(tokens)
        for index, block in enumerate(self.blocks):
            if self.way == "skips" and index and self.forwards % 3 == 0:
                continue
            # torch.nn.Module.__call__ is not the only way into a module.
            mixed = attend(block, hidden) if self.way == "by a function" else block(hidden)
            hidden = hidden + mixed
        if self.way == "begins later" and self.forwards > 9:
            query = hidden[:, None]
            hidden = hidden + nn.functional.scaled_dot_product_attention(query, query, query)[:, 0]
        logits: Tensor = self.head(hidden)
        return logits


def attend(module: nn.Module, hidden: Tensor) -> Tensor:
    return type(module).forward(module, hidden)


@pytest.mark.parametrize("way", ["", "by a function", "skips", "begins later"])
def test_looking_where_the_model_attends_shows_all_of_it(way: str, tmp_path: Path) -> None:
    """Every map of every step is right, although only one forward in 16 is tapped as a whole."""
    model = Restless(way)
    options: Any = {"layers_to_visualize": "all", "visualization_types": ["statistics"]}
    steps = 40
    with TrainingAttentionMonitor(tmp_path, 1, **options, max_overhead=None) as monitor:
        for step in range(steps):
            step_of(model, batch(seed=step))
            monitor.log_attention(model, batch(seed=step), step=step)
    layers = [len(line["encoder"] + line["decoder"]) for line in history(tmp_path)]
    assert summary(tmp_path)["rendered"] == steps
    if way == "begins later":
        assert set(layers[:9]) == {2}
        assert set(layers[9 + 16 :]) == {3}, "noticed at the latest after 16 forwards"
    else:
        assert set(layers) <= ({1, 2} if way == "skips" else {2})


class TimeFirst(LanguageModel):
    """A model whose inputs are [positions, batch]."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens.T)


def test_the_sample_is_the_same_where_the_batch_is_the_second_dimension(tmp_path: Path) -> None:
    model, tokens = TimeFirst(), batch(8, 4).T.contiguous()
    with TrainingAttentionMonitor(
        tmp_path, 1, save_raw_weights=True, batch_idx_to_visualize=3
    ) as monitor:
        for step in range(3):
            expected = weights_of(model, tokens.T)
            model(tokens).mean().backward()
            monitor.log_attention(model, tokens, step=step)
    for step in range(3):
        written = load_file(tmp_path / f"step_{step}" / RAW)["decoder_layer0_self_attn"]
        torch.testing.assert_close(written.double(), expected[0][3], rtol=0, atol=1e-5)
    assert [line["metadata"]["seen_in"] for line in history(tmp_path)][1:] == ["forward"] * 2


class OneMask(nn.Module):
    """Two layers share a mask, which changes between them without autograd's knowledge."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Linear(4, 4)
        self.first, self.second = Masked(), Masked()

    def forward(self, hidden: Tensor) -> Tensor:
        mask = torch.zeros(5, 5)
        hidden = self.first(self.projection(hidden), mask)
        mask.data[:, 3:] = -torch.inf
        mixed: Tensor = self.second(hidden, mask)
        return mixed


class Masked(nn.Module):
    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        hidden = hidden[:, None]
        attend = nn.functional.scaled_dot_product_attention
        return attend(hidden, hidden, hidden, attn_mask=mask)[:, 0]


def test_layers_share_a_mask_only_if_it_is_the_same(tmp_path: Path) -> None:
    model, x = OneMask(), torch.randn(2, 5, 4)
    options: Any = {"save_raw_weights": True, "layers_to_visualize": "all"}
    with TrainingAttentionMonitor(tmp_path, 1, **options) as monitor:
        for step in range(3):
            model(x).mean().backward()
            monitor.log_attention(model, x, step=step)
    for step in range(3):
        written = load_file(tmp_path / f"step_{step}" / RAW)
        maps = [weights for name, weights in written.items() if name.endswith("_attn")]
        later_keys = sorted(float(weights[..., 3:].sum()) for weights in maps)
        assert later_keys[0] == 0
        assert later_keys[1] > 1
        assert len(maps) == 2


class Scratching(CausalAttention):
    """Attention that reuses its query's memory after the call."""

    def forward(self, hidden: Tensor) -> Tensor:
        query = self.projection(hidden)[:, None, :, : hidden.shape[-1]]
        mixed = nn.functional.scaled_dot_product_attention(query, query, query, is_causal=True)
        query.zero_()
        return mixed[:, 0] + query[:, 0]


def test_a_query_that_is_changed_after_its_attention_is_shown_as_it_was(tmp_path: Path) -> None:
    """Nothing forbids this where no backward follows."""
    model = LanguageModel(layers=2)
    model.blocks[1] = Scratching(1, 32)
    tokens = batch()
    with TrainingAttentionMonitor(tmp_path, 1, save_raw_weights=True) as monitor:
        for step in range(4):
            model(tokens)
            monitor.log_attention(model, tokens, step=step)
    hidden = model.embedding(tokens)
    hidden = hidden + model.blocks[0](hidden)
    query = model.blocks[1].projection(hidden)[0, :, :32].detach().double()
    later = torch.ones(len(query), len(query), dtype=torch.bool).triu(1)
    expected = (query @ query.mT / 32**0.5).masked_fill(later, -torch.inf).softmax(-1)
    for step in range(4):
        written = load_file(tmp_path / f"step_{step}" / RAW)["decoder_layer1_self_attn"]
        torch.testing.assert_close(written[0].double(), expected, rtol=0, atol=1e-5)
    ways = [line["metadata"]["seen_in"] for line in history(tmp_path)]
    assert ways[-1] == "forward", "it is copied inside the call"


def test_a_layer_that_is_new_is_in_the_capture_of_its_first_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = LanguageModel(layers=1)
    with TrainingAttentionMonitor(tmp_path, 1, layers_to_visualize="all") as monitor:
        for step in range(6):
            if step in (2, 4):
                model.blocks.append(copy.deepcopy(model.blocks[0]))
            step_of(model, batch(seed=step))
            monitor.log_attention(model, batch(seed=step), step=step)
    assert [len(line["encoder"] + line["decoder"]) for line in history(tmp_path)] == [
        1, 1, 2, 2, 3, 3,
    ]  # fmt: skip
    assert not caplog.records
