"""The flight recorder: the last captures are kept undrawn, and drawn when training breaks."""

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from support.comparable_training import STEPS, StatefulModel, text_inputs, train
from support.models import LanguageModel, batch
from support.outputs import check_outputs, history, strict_json, summary, tensorboard
from support.slow_device import SlowDevice
from support.standalone_renderer import running_renderer
from support.tapping import is_watched
from support.training_process import run_training, wait_until_closed, wait_until_settled
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
from attnmon.accounting import dump_triggers
from attnmon.accounting.dump_triggers import LossWatch
from attnmon.accounting.overhead_budget import OverheadBudget
from attnmon.link.ring import SLOT_BYTES
from attnmon.serialize import ring_writer
from attnmon.serialize.device_copy import DeviceCopies
from attnmon.session import startup
from attnmon_renderer.commands import main
from attnmon_renderer.report.alerts import find_alerts
from attnmon_renderer.report.gather import gather_report_data
from attnmon_renderer.results import AnimationFrame, Results
from attnmon_renderer.sinks.animation_and_timeline import Animations

NO_GOODBYE = "the training process ended without saying goodbye"
OURS = "attnmon"

Losses = Callable[[int], Any]


def watch(folder: Path, frequency: int, keep_last: int, **options: Any) -> Any:
    """Returns a monitor that records numbers only, which is fast."""
    return LightweightAttentionMonitor(
        folder, frequency, use_tensorboard=False, keep_last=keep_last, **options
    )


def steps(monitor: Any, model: nn.Module, which: range, loss: Losses = float, **given: Any) -> None:
    """Runs a training loop without a loss or an optimizer."""
    for step in which:
        tokens = batch(seed=step)
        model(tokens)
        monitor.log_attention(model, tokens, step=step, loss=loss(step), **given)


def drawn(folder: Path) -> dict[int, str]:
    """Returns by step, in the order of the history, why it was kept; "" for a due one."""
    lines = [line["metadata"] for line in history(folder)]
    return {metadata["step"]: metadata.get("kept_for", "") for metadata in lines}


def accounts_hold(folder: Path) -> Any:
    check_outputs(folder)
    found = summary(folder)
    assert (found["kept"], found["dropped"], found["failed"]) == (0, 0, 0)
    assert found["captured"] == found["rendered"] == len(history(folder))
    return found


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == OURS]


# The training process dies

KILLED = """
    from torch.utils.data import DataLoader
    model = LanguageModel()
    monitor = TrainingAttentionMonitor({folder!r}, 25, keep_last=20)
    data = [batch(1, seed=step)[0] for step in range(1000)]
    for step, tokens in enumerate(DataLoader(data, batch_size=4, num_workers=2)):
        model(tokens)
        monitor.log_attention(model, tokens, step=step, loss=float(step))
        if step == 60:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_last_steps_before_a_kill_are_drawn_though_loader_workers_live_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = run_training(KILLED.format(folder=str(tmp_path)))
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    wait_until_closed(tmp_path)
    accounts = accounts_hold(tmp_path)
    kept = [step for step in range(40, 61) if step != 50]
    assert accounts["state"] == "trainer lost"
    assert accounts["dumps"] == [{"reason": NO_GOODBYE, "step": 60, "count": 20}]
    assert drawn(tmp_path) == {0: "", 25: "", 50: ""} | dict.fromkeys(kept, NO_GOODBYE)
    assert list(drawn(tmp_path))[3:] == kept, "in order"
    for step in (*kept, 0, 25, 50):
        assert len(list((tmp_path / f"step_{step}").glob("*.png"))) == 2
    statistics = strict_json((tmp_path / "step_60" / "statistics.json").read_text())
    assert statistics["metadata"]["kept_for"] == NO_GOODBYE
    of_kept = EventAccumulator(str(tmp_path / "tensorboard" / "kept"), {"images": 0, "scalars": 0})
    for events, expected in ((tensorboard(tmp_path), [0, 25, 50]), (of_kept.Reload(), kept)):
        assert [event.step for event in events.Scalars("train/loss")] == expected
        assert [event.value for event in events.Scalars("train/loss")] == expected
        assert [event.step for event in events.Images("attention/decoder_layer0_self")] == expected
    assert main(["status", str(tmp_path)]) == 1
    assert f"20 steps to step 60 ({NO_GOODBYE})" in capsys.readouterr().out
    found = find_alerts(gather_report_data(tmp_path, tmp_path, 100, 1 << 30))
    assert f"20 steps to step 60 were kept and drawn: {NO_GOODBYE}." in found


ENDS = """
    monitor = LightweightAttentionMonitor({folder!r}, 100, keep_last=3)
    model = LanguageModel()
    for step in range(6):
        model(tokens := batch())
        monitor.log_attention(model, tokens, step=step)
    {end}
"""


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="met", dir="/tmp") as short:
        yield Path(short, "sockets")


def test_a_training_at_a_standalone_renderer_that_ends_without_a_word(
    socket_folder: Path, tmp_path: Path
) -> None:
    with running_renderer(socket_folder) as shared:
        script = ENDS.format(folder=str(tmp_path), end="os._exit(5)")
        assert run_training(script, ATTNMON_RENDERER=str(shared.socket)).returncode == 5
        shared.says("trainer lost: 4 captured, 4 rendered, 0 dropped, 0 failed")
        assert shared.end(signal.SIGTERM) == 0
    assert drawn(tmp_path) == {0: "", 3: NO_GOODBYE, 4: NO_GOODBYE, 5: NO_GOODBYE}
    accounts_hold(tmp_path)


# It ends in order, or by an error


def test_a_script_that_ends_by_an_error_without_closing(tmp_path: Path) -> None:
    ran = run_training(ENDS.format(folder=str(tmp_path), end="raise KeyError('lr')"))
    assert ran.returncode == 1, ran.stderr
    assert accounts_hold(tmp_path)["state"] == "closed"
    reason = "KeyError: 'lr'"
    assert drawn(tmp_path) == {0: "", 3: reason, 4: reason, 5: reason}


@pytest.mark.parametrize("error", [ValueError("shapes\ndiffer"), KeyboardInterrupt()], ids=repr)
def test_an_error_that_leaves_the_block(error: BaseException, tmp_path: Path) -> None:
    def training() -> None:
        with watch(tmp_path, 100, 2) as monitor:
            steps(monitor, LanguageModel(), range(5))
            raise error

    with pytest.raises(type(error)):
        training()
    kept = (3, 4) if isinstance(error, ValueError) else ()
    assert drawn(tmp_path) == {0: ""} | dict.fromkeys(kept, "ValueError: shapes\ndiffer")
    accounts_hold(tmp_path)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def test_what_is_an_error_and_what_an_end_that_somebody_wanted() -> None:
    assert "Unspeakable" in dump_triggers.error_reason(Unspeakable())
    for wanted in (KeyboardInterrupt(), SystemExit(1), GeneratorExit(), None):
        assert dump_triggers.error_reason(wanted) == ""


def test_an_error_of_an_interactive_session_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "last_value", ValueError("of another cell"), raising=False)
    assert dump_triggers.exit_reason() == "ValueError: of another cell"
    monkeypatch.setattr(sys, "ps1", "In : ", raising=False)
    assert dump_triggers.exit_reason() == ""


def test_training_is_bit_identical_and_in_order_nothing_that_was_kept_is_drawn(
    tmp_path: Path,
) -> None:
    without = train(StatefulModel, text_inputs, None)
    with watch(tmp_path, 20, 7) as monitor:
        with_it = train(StatefulModel, text_inputs, monitor)
        assert len(monitor._session._producer.allocator.window) == 7
    for name, expected in without.items():
        same = torch.equal(expected, with_it[name]) if torch.is_tensor(expected) else None
        assert expected == with_it[name] if same is None else same, f"{name} differs"
    assert drawn(tmp_path) == dict.fromkeys(range(0, STEPS, 20), "")
    accounts = accounts_hold(tmp_path)
    assert accounts["dumps"] == []
    assert 0 < accounts["kept_seconds"] < accounts["hook_seconds"]
    assert accounts["settings"]["keep_last"] == 7


# The loss, and the user's word


def test_the_first_loss_that_is_no_number_is_told_and_the_next_one_after_a_finite_one() -> None:
    losses = LossWatch()
    given = (1.0, float("nan"), float("inf"), None, float("nan"), 2.0, None, float("-inf"))
    told = [losses.check(step, loss) for step, loss in enumerate(given)]
    assert [step for step, reason in enumerate(told) if reason] == [1, 7]
    assert told[1] == "the loss is nan at step 1"


def test_a_loss_that_is_nan_draws_the_steps_before(tmp_path: Path) -> None:
    def loss(step: int) -> Any:
        return torch.tensor(float("nan") if 6 <= step < 9 else 1.0)

    with watch(tmp_path, 8, 3) as monitor:
        steps(monitor, LanguageModel(), range(12), loss)
    reason = "the loss is nan at step 6"
    assert drawn(tmp_path) == {0: "", 4: reason, 5: reason, 6: reason, 8: ""}
    assert accounts_hold(tmp_path)["dumps"] == [{"reason": reason, "step": 6, "count": 3}]


def test_a_dump_is_counted_at_once_and_what_follows_is_another_window(tmp_path: Path) -> None:
    monitor, model = watch(tmp_path, 100, 3), LanguageModel()
    pid = monitor._session._connection.renderer.process.pid
    os.kill(pid, signal.SIGSTOP)
    steps(monitor, model, range(6))
    monitor.dump("a spike\nin the gradient norm")
    assert monitor._session.accounts()["captured"] == 4
    assert monitor._session.accounts()["pending"] == 4
    steps(monitor, model, range(6, 8))
    os.kill(pid, signal.SIGCONT)
    monitor.dump("x" * 5000)
    monitor.dump("nothing since")
    accounts = monitor.close()
    assert accounts["captured"] == accounts["rendered"] == 6
    assert list(drawn(tmp_path)) == [0, 3, 4, 5, 6, 7]
    dumps = accounts_hold(tmp_path)["dumps"]
    assert [dump["count"] for dump in dumps] == [3, 2, 0]
    assert dumps[0]["reason"] == "a spike\nin the gradient norm"
    assert len(dumps[1]["reason"]) == 500
    monitor.dump("it is closed")


def test_dump_without_keep_last_says_what_to_set(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with watch(tmp_path, 4, 0) as monitor:
        steps(monitor, LanguageModel(), range(3))
        monitor.dump("why")
        monitor.dump("why")
    [words] = said(caplog)
    assert "keep_last=20" in words
    assert list(drawn(tmp_path)) == [0]


def test_a_film_does_not_jump_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filmed: list[AnimationFrame] = []
    monkeypatch.setattr(Animations, "_extend", lambda self, path, frame: filmed.append(frame))
    frame = AnimationFrame(
        "layer", ("", "", ""), (2, 1), (2, 1), 0, True, bytes(16), bytes(4), None
    )
    film = Animations(tmp_path)
    film.write(Results("step_7", 7, 1.0, dump_reason="why", frames=[frame]))
    assert filmed == []
    film.write(Results("step_8", 8, 2.0, frames=[frame]))
    assert filmed == [frame]


# Room


def test_a_window_as_long_as_fits_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two layers take a slot. Of eight slots, four are for kept captures."""
    with watch(tmp_path, 100, 50, ring_bytes=8 * SLOT_BYTES) as monitor:
        steps(monitor, LanguageModel(), range(20))
        monitor.dump("why")
    assert list(drawn(tmp_path)) == [0, 16, 17, 18, 19]
    [words] = said(caplog)
    assert "a window of 4 of 50 steps fits" in words
    assert "raise ring_bytes to 7 MiB" in words
    accounts_hold(tmp_path)


def test_due_steps_take_the_room_of_kept_ones_also_when_the_renderer_is_stopped(
    tmp_path: Path,
) -> None:
    monitor = watch(tmp_path, 5, 2, ring_bytes=4 * SLOT_BYTES, max_overhead=None)
    pid = monitor._session._connection.renderer.process.pid
    os.kill(pid, signal.SIGSTOP)
    steps(monitor, LanguageModel(), range(19))
    assert monitor._session.accounts()["dropped"] == 0
    assert monitor._session.accounts()["pending"] == 4, "all of the ring is theirs"
    monitor.dump("why")
    os.kill(pid, signal.SIGCONT)
    monitor.close()
    assert list(drawn(tmp_path)) == [0, 5, 10, 15]
    assert accounts_hold(tmp_path)["dumps"][0]["count"] == 0


def test_those_who_would_rather_wait_wait_for_due_steps_only(tmp_path: Path) -> None:
    options: Any = {"ring_bytes": 2 * SLOT_BYTES, "max_overhead": None, "on_full": "wait"}
    with watch(tmp_path, 2, 2, **options) as monitor:
        steps(monitor, LanguageModel(), range(25))
        monitor.dump("why")
    due = [step for step, reason in drawn(tmp_path).items() if not reason]
    assert due == list(range(0, 25, 2))
    accounts_hold(tmp_path)


def test_a_step_that_is_due_by_surprise_and_has_no_room_is_made_up_for_by_the_next(
    tmp_path: Path,
) -> None:
    """The capture was made to be kept, and nobody waits for those."""
    options: Any = {"visualization_types": ["statistics"], "ring_bytes": 2 * SLOT_BYTES}
    monitor: Any = TrainingAttentionMonitor(tmp_path, 2, [1], keep_last=2, **options)
    model, pid = LanguageModel(), monitor._session._connection.renderer.process.pid
    os.kill(pid, signal.SIGSTOP)
    steps(monitor, model, range(3), epoch=0)
    assert monitor._session.accounts()["pending"] == 2, "all of the ring is theirs"
    steps(monitor, model, range(3, 4), epoch=1)
    os.kill(pid, signal.SIGCONT)
    wait_until_settled(monitor)
    steps(monitor, model, range(4, 5), epoch=1)
    monitor.close()
    assert sorted(path.name for path in tmp_path.glob("*step_*")) == [
        "epoch_1_step_4", "step_0", "step_2",
    ]  # fmt: skip
    accounts_hold(tmp_path)


# What it costs and where it looks


def test_the_budget_does_not_pay_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spent: list[float] = []

    def review(self: OverheadBudget, seconds: float, *others: float) -> bool:
        spent.append(seconds)
        return False

    monkeypatch.setattr(OverheadBudget, "review", review)
    with watch(tmp_path, 30, 5) as monitor:
        steps(monitor, LanguageModel(), range(31))
        counters = monitor._counters
    assert counters.retained_seconds > 0
    assert spent[0] < spent[1] <= counters.hook_seconds - counters.retained_seconds + 1e-9


@pytest.mark.parametrize("capture", ["auto", "probe"])
def test_where_the_own_forward_cannot_be_looked_at_that_is_said_once(
    capture: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = LanguageModel()
    if capture == "auto":
        model.compile(backend="eager")
    with watch(tmp_path, 4, 5, capture=capture) as monitor:
        steps(monitor, model, range(8))
        monitor.dump("why")
    assert list(drawn(tmp_path)) == [0, 4], "what is due is captured all the same"
    [words] = said(caplog)
    assert "keep_last is off" in words


def test_tensors_that_the_model_was_not_given_are_said_to_be_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = LanguageModel()
    with watch(tmp_path, 100, 5) as monitor:
        for step in range(8):
            model(batch(seed=step))
            monitor.log_attention(model, batch(seed=step + 1), step=step)
        monitor.dump("why")
    assert list(drawn(tmp_path)) == [0]
    others, nothing = said(caplog)
    assert "not those of the model's latest forward" in others
    assert "nothing was seen of the first steps" in nothing


def test_what_a_block_shows_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = LanguageModel()
    with watch(tmp_path, 100, 2) as monitor:
        for step in range(5):
            with monitor.capture(step):
                model(batch())
            monitor.log_attention(model, step=step)
            assert not is_watched(model), "the next block will look"
        monitor.dump("why")
    assert drawn(tmp_path) == {0: "", 3: "why", 4: "why"}
    assert said(caplog) == []


def test_what_is_recorded_is_kept_and_a_step_that_cannot_be_costs_that_step_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with watch(tmp_path, 10, 4) as monitor:
        for step in range(12):
            length = 0 if 3 <= step < 8 else 4
            monitor.record("layer", weights=torch.softmax(torch.randn(2, 3, length, length), -1))
            monitor.log_attention(step=step)
        monitor.dump("why")
    assert set(drawn(tmp_path)) == {0, 10, 2, 8, 9, 11}
    [words] = said(caplog)
    assert "record('layer'): (2, 3, 0, 0) is empty" in words
    accounts_hold(tmp_path)


def test_what_is_on_its_way_from_a_device_belongs_to_the_dump(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = SlowDevice(queries=1)  # it lands at a later step, the last one when waited for

    def copy(self: ring_writer.RingWriter, room: Tensor, tensor: Tensor) -> None:
        self.device_copies.copy(room, tensor.clone())

    monkeypatch.setattr(ring_writer, "DeviceCopies", partial(DeviceCopies, cuda=device))
    monkeypatch.setattr(ring_writer.RingWriter, "copy", copy)
    monitor = watch(tmp_path, 100, 3)
    steps(monitor, LanguageModel(), range(6))
    assert monitor._session.has_pending_copies, "the last step has not landed"
    accounts = monitor._session.accounts()
    assert accounts["captured"] == accounts["rendered"] + accounts["pending"] == 1
    monitor.dump("why")
    monitor.close()
    assert drawn(tmp_path) == {0: "", 3: "why", 4: "why", 5: "why"}
    assert accounts_hold(tmp_path)["dumps"][0]["count"] == 3


def test_a_window_larger_than_the_ring_makes_it_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when a single step is larger than the ring."""
    monkeypatch.setattr(startup, "DEFAULT_BYTES", SLOT_BYTES)
    with watch(tmp_path, 100, 3) as monitor:
        model = LanguageModel()
        for step in range(1, 9):
            tokens = batch(1, 700)
            model(tokens)
            monitor.log_attention(model, tokens, step=step)
            while monitor._session.accounts()["pending"]:  # the first, which has all of the ring
                monitor._session._producer.wait_for_message(1)  # type: ignore[union-attr]
        monitor.dump("why")
    assert list(drawn(tmp_path)) == [1, 6, 7, 8]
    accounts_hold(tmp_path)
    [words] = said(caplog)
    assert "takes more than the 0.1 MiB of shared memory set aside" in words
