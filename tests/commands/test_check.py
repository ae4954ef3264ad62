"""`attnmon check` and what `attnmon status` says of alerts."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.captures import capture, layer

from attnmon.link.records.alert import Alert
from attnmon_renderer.commands import main
from attnmon_renderer.commands.check import judge
from attnmon_renderer.insight.alert_log import append_alerts
from attnmon_renderer.insight.rule_table import make_rules
from attnmon_renderer.overview.troubles import find_troubles, open_alerts
from attnmon_renderer.storage.run_reader import read_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose logits double from step 20 on."""
    about = {"state": "closed", "captured": 40, "rendered": 40, "steps": 40, "interval": 1}
    (tmp_path / "summary.json").write_text(json.dumps(about))
    logits = [40.0 if step < 20 else 40 * 1.2 ** (step - 20) for step in range(40)]
    captures = [capture(step, layer(max_logit=top)) for step, top in enumerate(logits)]
    lines = [json.dumps(each) for each in captures]
    (tmp_path / "history.jsonl").write_text("\n".join([*lines[:5], "torn {", *lines[5:], ""]))
    return tmp_path


def check(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    code = main(["check", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_it_judges_what_was_recorded(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(run.iterdir())
    code, out, err = check(capsys, run, "--only", "logit_growth")
    assert code == 0
    assert "warn   logit_growth: The logits of layer 0 of the decoder" in out
    assert out.endswith("40 captures, steps 0 to 39: 1 alert (1 warn), 1 of them still open\n")
    assert "1 line is left out" in err
    assert check(capsys, run, "--only", "logit_growth", "--strict")[0] == 1
    assert sorted(run.iterdir()) == before


def test_other_settings_and_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calm = ("--only", "logit_growth", "--set", "logit_growth.top=1e6")
    assert check(capsys, run, *calm)[1] == "40 captures, steps 0 to 39: no alert\n"
    _, out, _ = check(capsys, run, "--json", "--only", "logit_growth", "logit_high")
    found = json.loads(out)
    assert {each["rule"] for each in found} == {"logit_growth", "logit_high"}
    assert list(found[0]) == list(Alert("a", "b", "warn", "firing", 0).fields())
    worse = ("--set", "logit_growth.worst=100", "--set", "logit_growth.patience=1")
    assert check(capsys, run, *worse)[0] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "entropy"), "no rule 'entropy'"),
        (("--set", "logit_growth"), "give RULE.FIELD=VALUE"),
        (("--set", "logit_growth.top=high"), "'high' is no number"),
        (("--set", "logit_growth.peak=1"), "no setting 'peak'"),
    ],
)
def test_mistakes_are_named(
    arguments: tuple[str, ...], words: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = check(capsys, run, *arguments)
    assert code == 2
    assert words in err


def test_where_there_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(capsys, tmp_path)[0] == 2
    assert judge(tmp_path, make_rules(), []).changes == []


def test_what_to_try_is_said_once_and_severities_are_counted(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sick = [layer(number, entropy=0.03, coverage=0.1, max_logit=60.0) for number in (0, 1)]
    lines = [json.dumps(capture(step, *sick)) for step in range(40)]
    (run / "history.jsonl").write_text("\n".join(lines) + "\n")
    code, out, _ = check(capsys, run, "--set", "loss_spike.sigmas=1")
    assert code == 0
    assert out.count("Lower the learning rate") == 1
    assert out.count("attention_collapse: In layer") == 2
    assert out.endswith("40 captures, steps 0 to 39: 2 alerts (2 warn), 2 of them still open\n")
    (run / "history.jsonl").write_text("")
    assert check(capsys, run)[:2] == (0, "no capture was recorded\n")


def test_the_help_names_all_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    out = capsys.readouterr().out
    assert "  logit_growth: patience=2 top=50 factor=2 captures=10 worst=10000\n" in out


WARNING = Alert("w", "logit_growth", "warn", "firing", 20, text="They grew.")
ERROR = Alert("e", "nonfinite", "error", "firing", 30, text="NaN.")


def test_status_exits_with_1_for_an_open_error_and_with_strict_for_a_warning(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", str(run)]) == main(["status", "--strict", str(run)]) == 0
    append_alerts(run, [WARNING])
    assert main(["status", str(run)]) == 0
    assert "  alert     warn logit_growth since step 20: They grew." in capsys.readouterr().out
    assert main(["status", "--strict", str(run)]) == 1
    shutil.copytree(run, run / "second")
    capsys.readouterr()
    assert main(["status", "--strict", str(run), str(run / "second")]) == 1
    assert capsys.readouterr().out.count("! warn logit_growth since step 20") == 2
    append_alerts(run, [ERROR])
    assert main(["status", str(run)]) == 1
    out = capsys.readouterr().out
    assert "! error nonfinite since step 30: NaN." in out
    assert [alert.id for alert in open_alerts(run)] == ["e", "w"]
    assert find_troubles(read_run(run)) == ["error nonfinite since step 30: NaN."]
    assert main(["status", "--json", str(run)]) == 1
    assert [each["id"] for each in json.loads(capsys.readouterr().out)["alerts"]] == ["w", "e"]
