"""The doctor's checks, one by one, on machines that offer less than this one."""

import subprocess
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from support.no_fonts import no_fonts, only

from attnmon.link.ring import DEFAULT_BYTES
from attnmon_renderer import doctor
from attnmon_renderer.doctor import machine, software
from attnmon_renderer.doctor.finding import Finding, run_python


def test_a_new_process_s_last_line_is_returned_and_its_failure_raised() -> None:
    assert run_python("print('first'); print('last')") == "last"
    with pytest.raises(RuntimeError, match="ValueError: no"):
        run_python("raise ValueError('no')")
    with pytest.raises(RuntimeError, match="exit code 3"):
        run_python("raise SystemExit(3)")
    with pytest.raises(subprocess.TimeoutExpired):
        run_python("import time; time.sleep(9)", seconds=0.2)


@pytest.mark.parametrize(
    ("nbytes", "verdict"), [(DEFAULT_BYTES, "pass"), (DEFAULT_BYTES // 2, "note")]
)
def test_a_smaller_ring_than_usual_is_noted(
    nbytes: int, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    ring = SimpleNamespace(usual=nbytes, backend="file", close_descriptor=lambda: closed.append(1))
    monkeypatch.setattr(machine, "make_ring", lambda wanted: ring)
    [finding] = machine.check_ring("ring")
    assert (finding.topic, finding.verdict, closed) == ("ring", verdict, [1])
    assert f"a ring of up to {nbytes >> 20} MiB: file" in finding.found


@pytest.mark.parametrize(
    ("level", "verdict"), [("idle", "pass"), ("nice 19", "note"), ("normal", "fail")]
)
def test_the_priority_that_is_granted_decides(
    level: str, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "run_python", lambda code: level)
    assert next(machine.check_priority("priority")).verdict == verdict


@pytest.mark.parametrize(("threads", "verdict"), [("1", "pass"), ("3", "fail")])
def test_a_process_with_threads_cannot_fork_safely(
    threads: str, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(software, "run_python", lambda code: threads)
    [finding] = software.check_forks("forks")
    assert finding.verdict == verdict
    assert f"{threads} thread(s)" in finding.found


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "PACKAGES", ("numpy", "no-such-package"))
    [finding] = software.check_packages("packages")
    assert finding.verdict == "fail"
    assert finding.found.startswith("numpy ")
    assert "missing: no-such-package" in finding.then


def test_a_check_that_raises_is_a_failure_and_the_next_one_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(topic: str) -> Iterator[Finding]:
        raise OSError("refused")

    checks: dict[str, Callable[[str], Iterator[Finding]]] = {
        "broken": broken,
        "system": machine.check_system,
    }
    monkeypatch.setattr(doctor, "CHECKS", checks)
    first, second = doctor.examine()
    assert first == Finding("broken", "fail", "OSError: refused")
    assert (second.topic, second.verdict) == ("system", "pass")


def test_scripts_without_a_font_are_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only(monkeypatch, "apt-get")
    no_fonts(monkeypatch)
    found, lacking = software.check_fonts("fonts")
    assert (found.verdict, lacking.verdict) == ("pass", "note")
    assert "Latin" in found.found
    assert "Arabic" in found.found  # DejaVu Sans has it
    assert lacking.found == "no font for Chinese, Japanese, Korean, Hindi, Thai, emoji"
    packages = "fonts-noto-cjk fonts-noto-core fonts-noto-color-emoji"
    assert lacking.then.startswith(f"apt-get install {packages}, or without root ")
