"""A wrong step, epoch or recorded layer costs itself: it is said once, and all else is captured."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import LanguageModel, batch
from support.outputs import check_outputs, history

from attnmon import LightweightAttentionMonitor
from attnmon.accounting.error_guard import ErrorGuard
from attnmon.capture.calls.manual_call import manual_call
from attnmon.monitor.step_numbers import StepNumbers

WEIGHTS, QUERY = torch.full((2, 2, 5, 5), 0.2), torch.ones(2, 2, 5, 4)
WRONG_STEPS = ["x", 3.5, float("nan"), True, [1], 1 << 63, object(), torch.ones(2), 1j, b"1"]
WRONG_EPOCHS = ["x", float("nan"), float("inf"), [1], 1 << 70, object(), torch.ones(2), 1j, {}]


@pytest.fixture
def numbers() -> StepNumbers:
    return StepNumbers(ErrorGuard())


def test_whatever_is_a_whole_number_is_a_step(numbers: StepNumbers) -> None:
    given = [3, 3.0, torch.tensor(3), torch.tensor(3).numpy(), -3]
    assert [numbers.step(each) for each in given] == [3, 3, 3, 3, -3]
    assert [numbers.step(each) for each in WRONG_STEPS] == [None] * len(WRONG_STEPS)


def test_a_part_of_an_epoch_is_in_it(numbers: StepNumbers) -> None:
    given = [None, 2, 2.7, torch.tensor(2.5), Decimal("2.5"), -0.5]
    assert [numbers.epoch(each) for each in given] == [None, 2, 2, 2, 2, -1]
    assert [numbers.epoch(each) for each in WRONG_EPOCHS] == [None] * len(WRONG_EPOCHS)


def test_a_wrong_step_counts_as_failed_and_the_others_are_captured(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = LanguageModel()
    with LightweightAttentionMonitor(tmp_path, 1, use_tensorboard=False) as monitor:
        for wrong in WRONG_STEPS:
            with monitor.capture(wrong):  # type: ignore[arg-type]
                model(batch())
            monitor.log_attention(model, batch(), step=wrong)  # type: ignore[arg-type]
        for step in range(3):
            monitor.log_attention(model, batch(), step=step)
    accounts = monitor.close()
    assert (accounts["captured"], accounts["rendered"]) == (len(WRONG_STEPS) + 3, 3)
    assert (accounts["failed"], accounts["off"]) == (len(WRONG_STEPS), None)
    assert caplog.text.count("is no whole number") == 1
    check_outputs(tmp_path)


def test_a_wrong_epoch_costs_no_capture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = LanguageModel()
    with LightweightAttentionMonitor(tmp_path, 1, use_tensorboard=False) as monitor:
        for step, wrong in enumerate(WRONG_EPOCHS):
            monitor.log_attention(model, batch(), step=step, epoch=wrong)  # type: ignore[arg-type]
    assert [line["metadata"]["epoch"] for line in history(tmp_path)] == [None] * len(WRONG_EPOCHS)
    assert monitor.close()["failed"] == 0
    assert caplog.text.count("it is recorded as null") == 1


WRONG_RECORDS: list[tuple[Any, dict[str, Any]]] = [
    (None, {"weights": WEIGHTS}),
    (3, {"weights": WEIGHTS}),
    ("a", {}),
    ("a", {"weights": WEIGHTS.numpy()}),
    ("a", {"weights": torch.ones(2, 2, 0, 0)}),
    ("a", {"weights": torch.ones(0, 2, 5, 5)}),
    ("a", {"weights": WEIGHTS.to(torch.complex64)}),
    ("a", {"weights": WEIGHTS.to_sparse()}),
    ("a", {"weights": WEIGHTS.to("meta")}),
    ("a", {"weights": WEIGHTS.to(torch.float8_e4m3fn)}),
    ("a", {"query": QUERY, "key": torch.ones(2, 2, 5, 3)}),
    ("a", {"query": QUERY, "key": QUERY, "mask": torch.ones(7, 7)}),
    ("a", {"query": QUERY, "key": QUERY, "mask": "x"}),
    ("a", {"query": QUERY, "key": QUERY, "scale": "x"}),
    ("a", {"weights": WEIGHTS, "role": []}),
]


def test_a_wrong_record_poisons_nothing(tmp_path: Path) -> None:
    """Given at every step, due or not, and beside one that is right."""
    model = LanguageModel()
    with LightweightAttentionMonitor(tmp_path, 4, use_tensorboard=False) as monitor:
        for step in range(9):
            for name, given in WRONG_RECORDS:
                monitor.record(name, **given)
            monitor.record("encoder.right", weights=WEIGHTS)
            monitor.record("blocks.0", weights=WEIGHTS)  # a layer of four heads
            monitor.log_attention(model, batch(2, 5), step=step)
    accounts = monitor.close()
    assert (accounts["captured"], accounts["rendered"], accounts["off"]) == (3, 3, None)
    for line in history(tmp_path):
        assert [row["name"] for row in line["encoder"]] == ["encoder.right"]
        assert len(line["decoder"]) == 2


@pytest.mark.parametrize(("name", "given"), WRONG_RECORDS[:-2])
def test_what_is_wrong_with_it_is_said(name: Any, given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="record"):
        manual_call(name, **given)
