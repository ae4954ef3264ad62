"""Settings: each mistake is named where it is made, with what is allowed."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
from attnmon.config.settings import Settings, checked_settings, make_writable_directory


def checked(tmp_path: Path, **changed: Any) -> Settings:
    given: dict[str, Any] = {
        "save_dir": tmp_path / "logs",
        "save_frequency": 100,
        "save_on_epochs": [1, 5],
        "layers_to_visualize": [0, -1],
        "batch_idx_to_visualize": 0,
        "use_tensorboard": True,
        "options": {},
    }
    return checked_settings(**{**given, **changed})


MISTAKES: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"visualization_types": ["heatmpa"]},
        ValueError,
        r"unknown 'heatmpa'.*Did you mean 'heatmap'",
    ),
    ({"visualization_types": ["zzz"]}, ValueError, r"known are 'heatmap', 'multi_head'"),
    ({"visualization_types": "heatmap"}, TypeError, r"give a list, such as \['heatmap'\]"),
    ({"save_frequency": 0}, ValueError, "save_frequency=0: must be 1 or more"),
    ({"save_frequency": -5}, ValueError, "save_frequency=-5: must be 1 or more"),
    ({"save_frequency": 2.5}, TypeError, "save_frequency=2.5: give a whole number"),
    ({"save_frequency": True}, TypeError, "save_frequency=True"),
    ({"save_on_epochs": [-1]}, ValueError, "save_on_epochs=-1"),
    ({"layers_to_visualize": []}, ValueError, "layers_to_visualize=.*nothing is chosen"),
    ({"layers_to_visualize": [1.5]}, TypeError, "layers_to_visualize=1.5: give a whole number"),
    ({"options": {"capture": "prob"}}, ValueError, "Did you mean 'probe'"),
    ({"options": {"roles": {"x": "encoder"}}}, ValueError, "known are 'encoder_self'"),
    ({"heads_to_visualize": "averge"}, ValueError, "Did you mean 'average'"),
    ({"heads_to_visualize": [-1]}, ValueError, "heads_to_visualize=-1: must be 0 or more"),
    ({"heads_to_visualize": []}, ValueError, "heads_to_visualize=.*nothing is chosen"),
    ({"max_workers": 0}, ValueError, "max_workers=0: must be 1 or more"),
    ({"batch_idx_to_visualize": -1}, ValueError, "batch_idx_to_visualize=-1"),
    ({"options": {"on_full": "block"}}, ValueError, "known are 'drop', 'wait'"),
    ({"options": {"ring_bytes": 10}}, ValueError, "ring_bytes=10: must be 65536 or more"),
    ({"options": {"ring_bytes": "10 lots"}}, ValueError, "ring_bytes='10 lots': give a number and"),
    ({"options": {"ring_bytes": 1e9}}, TypeError, "ring_bytes=1000000000.0: give bytes"),
    ({"save_dir": None}, TypeError, "save_dir=None: give a path"),
    ({"save_dir": 100, "save_frequency": "logs"}, TypeError, "save_dir=100: give a path"),
    ({"options": {"close_timeout": -1}}, ValueError, "close_timeout=-1"),
    ({"options": {"mirror_grace": -1}}, ValueError, "mirror_grace=-1"),
    ({"options": {"mirror": 7}}, TypeError, "mirror=7: give a URL"),
    ({"options": {"mirror": "bucket/run"}}, ValueError, "such as 's3://bucket/prefix'"),
    ({"options": {"mirror": "s3://key:secret@bucket/run"}}, ValueError, "without credentials"),
    ({"options": {"mirror": "s3://bucket/run?token=1"}}, ValueError, "without credentials"),
    ({"options": {"mirror": "s3://bucket/a//b"}}, ValueError, "a path without '//'"),
    ({"options": {"mirror": "gs://bucket/../b"}}, ValueError, "a path without '//'"),
    ({"options": {"mirror": "gs://bucket/a\nb"}}, ValueError, "control characters"),
    ({"options": {"mirror": "s4://bucket/run"}}, ValueError, "fsspec knows no 's4'"),
    ({"options": {"max_overhead": 0}}, ValueError, "max_overhead=0: .* None is no limit"),
    ({"options": {"max_overhead": 5}}, ValueError, "max_overhead=5: .* at most 1"),
    ({"options": {"max_overhead": "1%"}}, TypeError, "max_overhead='1%': give a share"),
    ({"options": {"disk_budget": "2 gigs"}}, ValueError, "disk_budget='2 gigs': .*'500 MB'"),
    ({"options": {"disk_budget": "much"}}, ValueError, "give a number and one of B, KB, MB"),
    ({"options": {"disk_budget": 0}}, ValueError, "disk_budget=0: must be 1 byte or more"),
    ({"options": {"disk_budget": "-3 GB"}}, ValueError, "must be 1 byte or more"),
    ({"options": {"disk_budget": 2.5}}, TypeError, "disk_budget=2.5: give bytes"),
    ({"options": {"forward_fn": 3}}, TypeError, "forward_fn=3: give a function"),
    ({"options": {"maps": "none"}}, ValueError, "known are 'drawn', 'all', None"),
    ({"options": {"mode": "750"}}, TypeError, "mode='750': give a number, such as 0o750"),
    ({"options": {"ranks": "none"}}, ValueError, "known are 'zero', 'all'"),
    ({"options": {"ranks": []}}, ValueError, "ranks=.*nothing is chosen"),
    ({"options": {"ranks": [-1]}}, ValueError, "ranks=-1: must be 0 or more"),
    ({"options": {"rank": -1}}, ValueError, "rank=-1: must be 0 or more"),
    ({"options": {"nonsense": 3}}, TypeError, "unknown setting 'nonsense'.*batch_dim"),
    ({"options": {"save_freq": 3}}, TypeError, "Did you mean 'save_frequency'"),
    ({"options": {"max_workers": 3}}, TypeError, "TrainingAttentionMonitor has it"),
    ({"save_on_epochs": 1.5}, TypeError, "save_on_epochs=1.5"),
    ({"options": {"renderer_cpus": "0,1"}}, TypeError, "renderer_cpus=.0,1.: give a list"),
    ({"options": {"renderer_cpus": []}}, ValueError, "renderer_cpus=.*nothing is chosen"),
    ({"options": {"renderer_cpus": [10**5]}}, ValueError, "there are only the processors 0"),
    ({"options": {"keep_last": -1}}, ValueError, "keep_last=-1: must be 0 or more"),
    ({"options": {"keep_last": 10**6}}, ValueError, "keep_last=1000000: must be 10000 or less"),
]


@pytest.mark.parametrize(("given", "error", "words"), MISTAKES, ids=lambda m: str(m)[:40])
def test_a_mistake_raises_and_says_what_is_allowed(
    given: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        checked(tmp_path, **given)
    assert not (tmp_path / "logs").exists(), "nothing is made for a monitor that cannot be"


@pytest.mark.parametrize("below", ["", "/", "/deep/er", "/../logs/x", "-link/x"])
def test_a_run_is_not_uploaded_into_its_own_directory(tmp_path: Path, below: str) -> None:
    (tmp_path / "logs-link").symlink_to("logs")
    with pytest.raises(ValueError, match="cannot be uploaded into its own directory"):
        TrainingAttentionMonitor(tmp_path / "logs", mirror=f"file://{tmp_path}/logs{below}")
    assert not (tmp_path / "logs").exists()


def test_the_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    with TrainingAttentionMonitor(tmp_path) as monitor:
        chosen = monitor._settings
    assert (chosen.save_frequency, chosen.save_on_epochs) == (100, {1, 5, 10})
    assert (chosen.pictures, chosen.statistics_files) == (("heatmap",), True)
    assert (chosen.layers_to_visualize, chosen.heads_to_visualize) == ((0, -1), "average")
    assert (chosen.max_workers, chosen.batch_idx_to_visualize) == (2, 0)
    assert (chosen.save_raw_weights, chosen.use_tensorboard) == (False, True)


def test_the_lightweight_monitor_looks_every_50_steps_and_draws_nothing(tmp_path: Path) -> None:
    with LightweightAttentionMonitor(tmp_path) as monitor:
        chosen = monitor._settings
    assert (chosen.save_frequency, chosen.pictures, chosen.layers_to_visualize) == (50, (), None)


@pytest.mark.parametrize("everything", [None, "all"])
def test_all_layers_can_be_asked_for(everything: str | None, tmp_path: Path) -> None:
    assert checked(tmp_path, layers_to_visualize=everything).layers_to_visualize is None


@pytest.mark.parametrize(("given", "kept"), [(3, (3,)), ([2, 0, 2], (2, 0)), ("all", "all")])
def test_heads_are_one_several_or_all(given: Any, kept: Any, tmp_path: Path) -> None:
    assert checked(tmp_path, heads_to_visualize=given).heads_to_visualize == kept


def test_a_relative_directory_stays_where_it_was_when_the_script_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert checked(tmp_path, save_dir="logs").save_dir == tmp_path / "logs"


def test_a_directory_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"file/logs.*cannot be written to.*choose another directory"):
        make_writable_directory(tmp_path / "file" / "logs")


def test_only_its_owner_may_read_the_directory(tmp_path: Path) -> None:
    make_writable_directory(tmp_path / "logs")
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o700


def test_the_renderer_keeps_to_the_processors_it_is_given(tmp_path: Path) -> None:
    last = max(os.sched_getaffinity(0))
    with TrainingAttentionMonitor(tmp_path, renderer_cpus=[last]) as monitor:
        monitor.record("encoder.0", weights=torch.full((1, 1, 4, 4), 0.25))
        monitor.log_attention(step=0)
        renderer = monitor._session._connection.renderer.process.pid  # type: ignore[union-attr]
        while monitor._session.accounts()["pending"]:
            monitor._session._producer.wait_for_message(1)  # type: ignore[union-attr]
        pids = json.loads((tmp_path / "summary.json").read_text())["pids"]
        assert renderer in pids
        assert len(pids) >= 2, "the worker of the first capture may have been relieved"
        assert all(os.sched_getaffinity(pid) == {last} for pid in pids)
        assert os.sched_getaffinity(0) != {last} or os.cpu_count() == 1
