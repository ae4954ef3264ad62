"""Labels made of what the model was given: the axes name the tokens of the sample that is shown."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from support.models import LanguageModel, batch
from torch import Tensor

from attnmon import TrainingAttentionMonitor
from attnmon.accounting.error_guard import ErrorGuard
from attnmon.capture import GivenInputs
from attnmon.collector.inputs.input_tokens import InputTokens
from attnmon.layers.layer_numbering import ROLES
from attnmon.serialize.sample_tokens import IdTokens

transformers = pytest.importorskip("transformers")
from support.lightning_trainer import LENGTH, Decoder, fit, texts  # noqa: E402

from attnmon.integrations import lightning  # noqa: E402
from attnmon.integrations.huggingface import AttentionCallback  # noqa: E402

PAD, END, START = 0, 1, 2
WORDS: Any = {"visualization_types": [], "save_raw_weights": True, "use_tensorboard": False}


class Words:
    """A tokenizer that names each id by itself; it has no word for those above 90."""

    pad_token_id = PAD

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str | None]:
        assert all(type(each) is int and each >= 0 for each in ids)
        special = {PAD: "<pad>", END: "</s>", START: "<s>"}
        return [special.get(each, f"w{each}") if each < 90 else None for each in ids]


class Failing(Words):
    def convert_ids_to_tokens(self, ids: list[int]) -> list[str | None]:
        raise RuntimeError("no vocabulary")


def tokens_of(folder: Path, step: int) -> tuple[list[str], list[str]]:
    """Return the labels (encoder, decoder) that were sent with a step's weights."""
    path = next(folder.glob(f"*step_{step}/attention_weights.safetensors"))
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    encoder, decoder = (
        json.loads(about.get(f"{s}_tokens") or "[]") for s in ("encoder", "decoder")
    )
    return encoder, decoder


def padded(rows: list[list[int]], side: str = "right") -> dict[str, Tensor]:
    longest = max(map(len, rows))
    fill = [[PAD] * (longest - len(row)) for row in rows]
    seen = [[1] * len(row) for row in rows]
    none = [[0] * len(each) for each in fill]
    if side == "left":
        rows, fill, seen, none = fill, rows, none, seen
    return {
        "input_ids": torch.tensor([a + b for a, b in zip(rows, fill, strict=True)]),
        "attention_mask": torch.tensor([a + b for a, b in zip(seen, none, strict=True)]),
    }


def trained(model: Any, folder: Path, rows: list[Any], collate: Any, **given: Any) -> None:
    settings = {**WORDS, **given.pop("settings", {})}
    arguments = transformers.TrainingArguments(
        str(folder), max_steps=2, per_device_train_batch_size=2, report_to="none", use_cpu=True,
        save_strategy="no", disable_tqdm=True, remove_unused_columns=False, seed=0,
        dataloader_pin_memory=False,
    )  # fmt: skip
    callback = AttentionCallback(folder / "logs", save_frequency=1, **settings)
    transformers.Trainer(
        model, arguments, train_dataset=rows, data_collator=collate, callbacks=[callback], **given
    ).train()


def gpt2() -> Any:
    config = transformers.GPT2Config(
        vocab_size=100, n_positions=16, n_embd=16, n_layer=1, n_head=2, bos_token_id=START,
        eos_token_id=END,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def fast_tokenizer() -> Any:
    words = tokenizers_model()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>")


def tokenizers_model() -> Any:
    tokenizers = pytest.importorskip("tokenizers")
    names = Words().convert_ids_to_tokens(list(range(90)))
    vocabulary = {name: number for number, name in enumerate(names)}
    return tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<pad>"))


def causal(rows: list[list[int]], side: str = "right") -> dict[str, Tensor]:
    made = padded(rows, side)
    return {**made, "labels": made["input_ids"]}


def test_the_trainers_own_tokenizer_labels_the_sample_that_is_shown(tmp_path: Path) -> None:
    """Sample 5 of a batch of 2 is the last one, and padding on the left has no label."""
    seen: list[list[int]] = []

    def collate(rows: list[list[int]]) -> dict[str, Tensor]:
        seen.append(rows[-1])
        return causal(rows, "left")

    rows = [
        [START, 5, 6, END],
        [START, 7, 8, 9, 10, END],
        [START, 11, END],
        [START, 95, 12, 13, 14, END],
    ]
    trained(
        gpt2(), tmp_path, rows, collate, processing_class=fast_tokenizer(),
        settings={"batch_idx_to_visualize": 5},
    )  # fmt: skip
    for step in (1, 2):
        encoder, decoder = tokens_of(tmp_path / "logs", step)
        shown = [
            "95" if each == 95 else str(Words().convert_ids_to_tokens([each])[0])
            for each in seen[step - 1]
        ]
        assert encoder == []
        assert decoder == [""] * (6 - len(shown)) + shown


def test_an_encoder_decoder_has_the_labels_of_both_stacks(tmp_path: Path) -> None:
    """The decoder sees its labels one position later, behind the token that also pads."""
    config = transformers.T5Config(
        vocab_size=100, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, pad_token_id=PAD,
        decoder_start_token_id=PAD, eos_token_id=END,
    )  # fmt: skip
    model = transformers.T5ForConditionalGeneration(config)

    def collate(rows: list[tuple[list[int], list[int]]]) -> dict[str, Tensor]:
        sources, targets = zip(*sorted(rows), strict=True)
        longest = max(map(len, targets))
        labels = [target + [-100] * (longest - len(target)) for target in targets]
        return {**padded(list(sources)), "labels": torch.tensor(labels)}

    rows = [([5, 6, END], [20, END]), ([7, 8, 9, END], [21, 22, 23, END])]
    trained(model, tmp_path, rows, collate, settings={"tokenizer": Words()})
    assert tokens_of(tmp_path / "logs", 2) == (
        ["w5", "w6", "</s>", ""],
        ["<pad>", "w20", "</s>", ""],
    )


def test_a_tokenizer_that_fails_costs_the_labels_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [[START, 5, END]] * 4
    trained(gpt2(), tmp_path, rows, causal, settings={"tokenizer": Failing()})
    assert tokens_of(tmp_path / "logs", 2) == ([], [])
    assert caplog.text.count("no vocabulary") == 1
    summary = json.loads((tmp_path / "logs" / "summary.json").read_text())
    assert (summary["rendered"], summary["failed"]) == (2, 0)


def test_none_asks_for_no_labels(tmp_path: Path) -> None:
    rows = [[START, 5, END]] * 4
    trained(
        gpt2(), tmp_path, rows, causal, processing_class=fast_tokenizer(),
        settings={"tokenizer": None},
    )  # fmt: skip
    assert tokens_of(tmp_path / "logs", 1) == ([], [])


def test_an_image_processor_is_no_tokenizer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class ImageProcessor:
        def __call__(self, images: Any) -> None:
            raise AssertionError("it was called")

        def save_pretrained(self, folder: str) -> None: ...

    trained(gpt2(), tmp_path, [[START, 5, END]] * 4, causal, processing_class=ImageProcessor())
    assert "positions instead" not in caplog.text


class Bytes(Decoder):
    """Called with `input_ids`, by name or by position."""

    def forward(self, input_ids: Tensor) -> Tensor:
        return super().forward(input_ids)


@pytest.mark.parametrize("capture", ["probe", "auto"])
def test_the_monitor_labels_what_is_logged(tmp_path: Path, capture: Any) -> None:
    """In an extra forward, and in the model's own, where the inputs have no names."""
    model = Bytes()
    with TrainingAttentionMonitor(
        tmp_path, save_frequency=1, capture=capture, tokenizer=Words(), **WORDS
    ) as monitor:
        for step in range(3):
            ids = torch.tensor([[START, 5 + step, END]])
            model(ids).sum().backward()
            monitor.log_attention(model, ids, step=step)
            ids.zero_()  # as a loop does that fills one buffer again and again
    assert [tokens_of(tmp_path, step)[1] for step in range(3)] == [
        ["<s>", f"w{5 + step}", "</s>"] for step in range(3)
    ]


def test_what_is_logged_as_tokens_comes_first_and_a_function_gets_the_batch(tmp_path: Path) -> None:
    given: list[Any] = []

    def label(logged: Any) -> list[str]:
        given.append(logged)
        return ["a", "b", "c", "d", "e"]

    model = LanguageModel()
    with TrainingAttentionMonitor(tmp_path, save_frequency=2, tokenizer=label, **WORDS) as monitor:
        for step in range(5):
            ids = batch(2, 5)
            model(ids).sum().backward()
            chosen = list("vwxyz") if step == 4 else None
            monitor.log_attention(model, ids, step=step, tokens=chosen)
            if not step % 2 and step < 4:
                assert given.pop() is ids
    assert given == [], "it is asked only where a step is captured, and shown"
    assert tokens_of(tmp_path, 2)[1] == list("abcde")
    assert tokens_of(tmp_path, 4)[1] == list("vwxyz")


def test_a_function_is_not_asked_for_another_sample_than_its_own(tmp_path: Path) -> None:
    model = LanguageModel()
    settings: Any = {**WORDS, "batch_idx_to_visualize": 7}
    with TrainingAttentionMonitor(
        tmp_path, tokenizer=lambda _: list("abcde"), **settings
    ) as monitor:
        monitor.log_attention(model, batch(2, 5), step=0)
    assert tokens_of(tmp_path, 0) == ([], [])


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec")
def test_lightning_labels_by_a_function_of_the_batch(tmp_path: Path) -> None:
    package = pytest.importorskip("lightning.pytorch")
    batches: list[Tensor] = []

    def label(logged: Tensor) -> list[str]:
        batches.append(logged)
        return [chr(each) for each in logged[0, :-1]]

    callback = lightning.AttentionCallback(
        tmp_path / "logs", save_frequency=1, tokenizer=label, **WORDS
    )
    fit(package, tmp_path, callback, max_steps=2)
    for step, expected in zip(range(2), texts(8, LENGTH), strict=False):
        assert torch.equal(batches[step], expected), "the whole batch, as the Trainer has it"
        letters = [chr(each) for each in expected[0, :-1].tolist()]
        assert tokens_of(tmp_path / "logs", step)[1] == letters


# What is made of ids, without a training

CROSS = {ROLES["encoder_self"], ROLES["decoder_self"], ROLES["decoder_cross"]}


def read(inputs: dict[str, Any], roles: Any, sample: int = 0) -> Any:
    found = InputTokens(Words(), ErrorGuard()).of(GivenInputs.of_logged(None, inputs), sample, 0)
    assert isinstance(found, IdTokens)
    return found.read(roles)


def test_ids_of_an_unknown_decoder_label_the_encoder_alone() -> None:
    inputs = {"input_ids": torch.tensor([[5, 6]]), "labels": torch.tensor([[7, 8]])}
    assert read(inputs, CROSS) == (["w5", "w6"], ())
    assert read(inputs, {ROLES["decoder_self"]}) == ["w5", "w6"]


def test_beside_an_image_ids_are_those_of_the_stack_that_reads_text() -> None:
    inputs = {"input_ids": torch.tensor([[5, 6]]), "pixel_values": torch.zeros(1, 3, 8, 8)}
    assert read(inputs, {ROLES["encoder_self"], ROLES["decoder_self"]}) == ((), ["w5", "w6"])
    assert read(inputs, {ROLES["encoder_self"]}) is None, "text and image are encoders alike"


def test_what_counts_in_no_loss_is_padding_only_at_the_end() -> None:
    masked = torch.tensor([[-100, 6, -100, -100]])
    same, other = torch.tensor([[2, 5, 6, 0]]), torch.tensor([[2, 5, 6, 7]])
    source = {"input_ids": torch.tensor([[5]]), "labels": masked}
    assert read({**source, "decoder_input_ids": same}, CROSS)[1] == ["<s>", "w5", "w6", ""]
    assert read({**source, "decoder_input_ids": other}, CROSS)[1] == ["<s>", "w5", "w6", "w7"]


class OnDevice:
    """Ids on a device, which to read would wait for it."""

    is_cpu = False

    def tolist(self) -> None:
        raise AssertionError("it was read")


def test_ids_on_a_device_are_read_from_their_copies() -> None:
    rows: Any = {"input_ids": OnDevice(), "attention_mask": torch.tensor([1, 0])}
    tokens = IdTokens(Words(), rows, 0, None, has_other_inputs=False)
    tokens.copy_to_host(lambda row: torch.tensor([5, 6]))
    assert tokens.read({ROLES["decoder_self"]}) == ["w5", ""]


def test_negative_and_unknown_ids_are_shown_as_numbers() -> None:
    assert read({"input_ids": torch.tensor([[-200, 99, 5]])}, CROSS)[0] == ["-200", "99", "w5"]


def test_inputs_without_ids_are_said(caplog: pytest.LogCaptureFixture) -> None:
    given = GivenInputs.of_logged(None, {"x": torch.zeros(1, 4)})
    tokens = InputTokens(Words(), ErrorGuard())
    assert tokens.of(given, 0, 0) is None
    assert tokens.of(given, 0, 0) is None
    assert caplog.text.count("no tensor input_ids") == 1
