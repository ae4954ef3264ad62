"""A monitor and a run show themselves in a notebook."""

import base64
import re
from pathlib import Path

import pytest
from support.models import LanguageModel, batch

from attnmon import LightweightAttentionMonitor, ShownRun, TrainingAttentionMonitor
from attnmon.accounting.error_guard import FAILURES_BEFORE_OFF
from attnmon_renderer.report import notebook
from attnmon_renderer.report.notebook import MOST_PICTURES, run_html

IMAGE = re.compile(r'src="data:image/png;base64,([^"]+)"')


@pytest.fixture(scope="module", params=[False, True], ids=["folders", "packed"])
def monitor(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> TrainingAttentionMonitor:
    """A closed monitor of a run of two captures, with six pictures each."""
    folder = tmp_path_factory.mktemp("run") / "<b>"
    made = TrainingAttentionMonitor(
        folder, 1, pack=request.param, visualization_types=["heatmap", "multi_head", "rollout"],
        layers_to_visualize=None, use_tensorboard=False, max_overhead=None,
    )  # fmt: skip
    for step in range(2):
        made.log_attention(LanguageModel(), batch(), step=step)
    made.close()
    return made


def test_the_latest_pictures_are_shown(monitor: TrainingAttentionMonitor) -> None:
    html = monitor._repr_html_()
    images = [base64.b64decode(found) for found in IMAGE.findall(html)]
    assert len(images) == MOST_PICTURES
    assert all(image.startswith(b"\x89PNG") for image in images)
    assert "closed" in html
    assert "2 captures, pictures of step 1<" in html
    assert "&lt;b&gt;" in html
    assert "<b>" not in html, "a directory's name is text"


def test_a_run_that_is_read_shows_the_same(monitor: TrainingAttentionMonitor) -> None:
    folder = Path(str(monitor.close()["save_dir"]))
    assert IMAGE.findall(ShownRun(folder)._repr_html_()) == IMAGE.findall(monitor._repr_html_())
    assert repr(ShownRun(folder)) == f"ShownRun({str(folder)!r})"


def test_pictures_that_are_damaged_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"state": "running", "captured": 1}')
    for step in range(2):
        (tmp_path / f"step_{step}").mkdir()
        (tmp_path / f"step_{step}" / "decoder_layer0_self_attn.png").write_bytes(b"\x89PNG no")
    assert "running, 1 capture, no picture yet" in run_html(tmp_path)


def test_a_directory_without_a_run_says_so(tmp_path: Path) -> None:
    assert "no run in" in run_html(tmp_path)
    assert "there is no directory" in run_html(tmp_path / "<none>")


def test_a_run_that_cannot_be_shown_leaves_the_monitor_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> str:
        raise RuntimeError("no")

    monkeypatch.setattr(notebook, "run_html", fail)
    with LightweightAttentionMonitor(tmp_path, 1) as monitor:
        for _ in range(FAILURES_BEFORE_OFF):
            assert "the log says why" in monitor._repr_html_()
        accounts = monitor.close()
    assert (accounts["off"], accounts["failed"]) == (None, 0)
    assert accounts["warnings"] == ["the run cannot be shown: no"]
