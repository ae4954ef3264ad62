"""Redraw jobs planned and run, with made-up jobs and empty files of raw weights."""

import signal
from pathlib import Path

import pytest

from attnmon_renderer.redraw import jobs
from attnmon_renderer.redraw.capture_selection import NothingSelected
from attnmon_renderer.redraw.jobs import run_job
from attnmon_renderer.redraw.plan import plan_jobs
from attnmon_renderer.redraw.process_pool import run_jobs
from attnmon_renderer.redraw.request import JobResult, RedrawRequest
from attnmon_renderer.redraw.stored_capture import NotStored
from attnmon_renderer.redraw.stored_maps import files_stored
from attnmon_renderer.storage.paths import RAW_WEIGHTS


def fine() -> JobResult:
    return JobResult((Path("a.png"),))


def unreadable() -> JobResult:
    raise NotStored("x cannot be read")


def broken() -> JobResult:
    raise ValueError("no such colour")


def nothing_selected() -> JobResult:
    raise NothingSelected("no layer is one of 7")


def ignores_interrupts() -> JobResult:
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return JobResult(errors=(str(ignored),))


def test_a_failure_is_an_error_of_its_job_and_what_all_have_in_common_is_raised() -> None:
    assert run_job(fine) == fine()
    assert run_job(unreadable).errors == ("x cannot be read",)
    [error] = run_job(broken).errors
    assert error.startswith("ValueError: no such colour (test_jobs.py:")
    with pytest.raises(NothingSelected):
        run_job(nothing_selected)


@pytest.mark.parametrize("processes", [1, 2])
def test_every_job_has_its_result_in_any_number_of_processes(processes: int) -> None:
    results = list(run_jobs([fine, unreadable, fine], processes))
    assert sum(len(result.pictures) for result in results) == 2
    assert [error for result in results for error in result.errors] == ["x cannot be read"]


def test_interrupts_are_left_to_the_parent() -> None:
    results = list(run_jobs([ignores_interrupts, ignores_interrupts], 2))
    assert {result.errors for result in results} == {("True",)}


def test_what_no_job_can_do_ends_them_all() -> None:
    with pytest.raises(NothingSelected):
        list(run_jobs([nothing_selected, fine], 2))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for folder in ("step_10", "step_9", "epoch_1_step_2", "other_step_x"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / RAW_WEIGHTS).touch()
    return tmp_path


def planned(run: Path, steps: list[int] | None, *kinds: str) -> list[tuple[str, tuple[str, ...]]]:
    """The function and the folders of each job."""
    found = []
    for job in plan_jobs(run, RedrawRequest(run / "out", kinds), steps):
        paths = [argument for argument in job.args if isinstance(argument, Path)]
        found.append((job.func.__name__, tuple(path.parent.name for path in paths)))
    return found


def test_steps_are_found_in_their_order(run: Path) -> None:
    assert list(files_stored(run).values()) == [2, 9, 10]


def test_each_step_is_a_job_and_a_difference_is_of_the_first_and_the_last(run: Path) -> None:
    drawn = [("draw_step", (name,)) for name in ("epoch_1_step_2", "step_9", "step_10")]
    difference = ("draw_difference", ("epoch_1_step_2", "step_10"))
    assert planned(run, None, "heatmap", "difference") == [*drawn, difference]
    assert planned(run, [9, 10], "difference") == [("draw_difference", ("step_9", "step_10"))]
    with pytest.raises(NotStored, match="takes two steps, not 1"):
        planned(run, [9], "difference")


def test_each_selected_layer_is_an_animation(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "selected_stems", lambda path, request: ("a", "b"))
    assert [name for name, _ in planned(run, None, "animation")] == ["draw_animation"] * 2


def test_a_timeline_needs_no_raw_weights_and_all_else_does(tmp_path: Path) -> None:
    assert [name for name, _ in planned(tmp_path, None, "timeline")] == ["draw_timeline"]
    with pytest.raises(NotStored, match="save_raw_weights=True"):
        planned(tmp_path, None, "timeline", "heatmap")
