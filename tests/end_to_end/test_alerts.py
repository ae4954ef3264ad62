"""Alerts of real trainings: from the softmax to the file, the log, the callback and the monitor."""

import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from support.outputs import tensorboard
from torch import Tensor, nn
from torch.nn import functional

from attnmon import Alert, LightweightAttentionMonitor, TrainingAttentionMonitor
from attnmon_renderer.insight.alert_log import read_alerts

LENGTH, HEADS, WIDTH = 16, 4, 32


def heads_of(x: Tensor) -> Tensor:
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


class Decoder(nn.Module):
    """A decoder of one layer, whose mask may be off by so many keys, and its logits too large."""

    def __init__(self, ahead: int = 0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, WIDTH)
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.allowed = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril(ahead)
        self.gain = 1.0

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        q, k, v = (
            f(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for f in (self.q, self.k, self.v)
        )
        return functional.scaled_dot_product_attention(self.gain * q, k, v, attn_mask=self.allowed)


def tokens(seed: int = 0) -> Tensor:
    return torch.randint(0, 50, (2, LENGTH), generator=torch.Generator().manual_seed(seed))


def log_until(monitor: Any, model: Any, condition: Any, first: int = 0) -> int:
    """Logs steps until a condition holds; returns the number of the next."""
    for step in range(first, first + 3000):
        if condition():
            return step
        with torch.no_grad():
            monitor.log_attention(model, tokens(step), step=step, loss=1.0)
        time.sleep(0.01)
    raise AssertionError("it never came")


def test_a_mask_that_is_off_by_one_is_an_alert_at_the_first_capture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Alert] = []
    with (
        TrainingAttentionMonitor(
            tmp_path, save_frequency=10**6, roles={"*": "decoder_self"}, on_alert=heard.append
        ) as monitor,
        caplog.at_level(logging.WARNING, "attnmon"),
    ):
        log_until(monitor, Decoder(ahead=1), lambda: heard)
        assert monitor.alerts == (heard[0],)
    (alert,) = heard
    assert (alert.rule, alert.severity, alert.state, alert.step) == (
        "future_leak",
        "error",
        "firing",
        0,
    )
    assert alert.pictures == ("step_0/decoder_layer0_self_attn.png",)
    assert (tmp_path / alert.pictures[0]).exists()
    assert read_alerts(tmp_path) == heard
    events = tensorboard(tmp_path)
    assert [(e.step, e.value) for e in events.Scalars("alerts/future_leak")] == [(0, 3.0)]
    (text,) = events.Tensors("alerts/future_leak/text_summary")
    assert text.tensor_proto.string_val[0].startswith(b"**error, firing**: Queries of the decoder")
    line = json.loads((tmp_path / "alerts.jsonl").read_text())
    assert line["try"].startswith("Shift the mask")
    assert line["role"] == "decoder_self"
    assert len([r for r in caplog.records if "see 1 token ahead" in r.getMessage()]) == 1


def test_trouble_that_comes_and_goes_is_told_and_resolved_across_a_restart(tmp_path: Path) -> None:
    model, heard = Decoder(), []

    def monitor() -> Any:
        return LightweightAttentionMonitor(
            tmp_path, save_frequency=1, max_overhead=None, on_full="wait",
            alerts=["attention_collapse"], on_alert=heard.append,
        )  # fmt: skip

    with monitor() as first:
        for step in range(3):
            first.log_attention(model, tokens(step), step=step, loss=1.0)
        model.q.weight.data.zero_()
        model.q.bias.data[:] = 3.0
        model.gain = 1e4  # every query looks at the same key
        step = log_until(first, model, lambda: heard, 3)
    assert [(alert.severity, alert.state) for alert in heard] == [("warn", "firing")]
    model.gain = 0.0
    with monitor() as second:
        log_until(second, model, lambda: len(heard) == 2, step)
    assert [(alert.id, alert.state) for alert in heard] == [
        (heard[0].id, "firing"),
        (heard[0].id, "resolved"),
    ]
    assert read_alerts(tmp_path) == [heard[1]]


def test_an_error_of_the_callback_stays_ours_and_the_kept_steps_are_drawn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[int] = []

    def callback(alert: Alert) -> None:
        called.append(alert.step)
        raise RuntimeError("of the user's")

    with (
        TrainingAttentionMonitor(
            tmp_path,
            save_frequency=10**6,
            roles={"*": "decoder_self"},
            on_alert=callback,
            keep_last=4,
        ) as monitor,
        caplog.at_level(logging.WARNING, "attnmon"),
    ):
        model = Decoder(ahead=2)
        step = log_until(monitor, model, lambda: called)
        log_until(monitor, model, lambda: monitor.alerts, step)
    assert called == [0]
    assert sum("of the user's" in record.getMessage() for record in caplog.records) == 1
    summary = json.loads((tmp_path / "summary.json").read_text())
    (dump,) = summary["dumps"]
    assert dump["reason"].startswith("alert future_leak at step 0: Queries of the decoder's")


def test_without_rules_nothing_is_judged(tmp_path: Path) -> None:
    with LightweightAttentionMonitor(tmp_path, alerts=[], roles={"*": "decoder_self"}) as monitor:
        monitor.log_attention(Decoder(ahead=1), tokens(), step=0)
    assert monitor.alerts == ()
    assert not (tmp_path / "alerts.jsonl").exists()


def test_padding_is_taken_from_the_attention_mask_in_the_batch(tmp_path: Path) -> None:
    class Deaf(Decoder):
        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            return super().forward(input_ids)

    mask = torch.ones(2, LENGTH, dtype=torch.long)
    mask[:, :4] = 0
    with LightweightAttentionMonitor(tmp_path, roles={"*": "decoder_self"}) as monitor:
        batch = {"input_ids": tokens(), "attention_mask": mask}
        monitor.log_attention(Deaf(), batch, step=0, grad_norm=torch.tensor(2.5))
    (alert,) = monitor.alerts
    assert (alert.rule, alert.severity) == ("padding_leak", "error")
    (line,) = map(json.loads, (tmp_path / "history.jsonl").read_text().splitlines())
    (row,) = line["decoder"]
    assert line["metadata"]["grad_norm"] == 2.5
    assert max(row["heads"]["padding_mass"]) == pytest.approx(alert.value)


@pytest.mark.parametrize("folded", [False, True])
def test_logits_of_attention_that_is_written_by_hand_are_seen(folded: bool, tmp_path: Path) -> None:
    """Also where heads are folded into the batch, of a sample that is not the first."""
    seen: list[list[float]] = []

    class ByHand(Decoder):
        def forward(self, tokens: Tensor) -> Tensor:
            x = self.embedding(tokens)
            q, k, v = (
                f(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for f in (self.q, self.k, self.v)
            )
            scores = q @ k.transpose(-1, -2)
            scores = scores.masked_fill(~self.allowed, float("-inf"))
            seen.append(scores[-1].amax((-1, -2)).tolist())
            if folded:
                scores, v = scores.flatten(0, 1), v.flatten(0, 1)
            scores = torch.softmax(scores, dim=-1)
            return scores @ v

    model = ByHand()
    model(tokens())
    with LightweightAttentionMonitor(tmp_path, batch_idx_to_visualize=1) as monitor:
        monitor.log_attention(model, tokens(), step=0)
    (line,) = map(json.loads, (tmp_path / "history.jsonl").read_text().splitlines())
    assert line["decoder"][0]["source"] == "softmax"
    assert line["decoder"][0]["heads"]["max_logit"] == pytest.approx(seen[0], rel=1e-5)
