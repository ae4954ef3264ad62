"""A fork of a server does what its script, or a renderer, does in an interpreter of its own."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support.forked_renderer import new_interpreters
from support.forked_script import ForkedProcess, PipedScript, can_fork_with
from support.renderer_boot import run_before_serving

from attnmon.session import renderer_process

SCRIPTS = {
    "what it sees": """
        import os, signal, sys, tempfile, threading
        print(__name__, sys.argv, sys.path, sys.flags, sys.stdout.isatty())
        print(os.getcwd(), tempfile.gettempdir(), os.getpgid(0), sorted(os.environ.items()))
        print([(each, signal.getsignal(each)) for each in sorted(signal.valid_signals())])
        print(threading.active_count(), len(os.listdir("/proc/self/fd")), len(sys.stdin.read()))
        print(vars(sys.modules["__main__"]) is globals(), sorted(globals()), __builtins__)
    """,
    "its own end": """
        import atexit, threading, time
        atexit.register(print, "exit function")
        threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        class Late:
            def __del__(self): print("late", flush=True)
        late = Late()
        print("done")
    """,
    "the end at once": "import atexit, os\natexit.register(print, 'never')\nos._exit(3)",
    "an exit code": "raise SystemExit(4)",
    "an exit message": "raise SystemExit('no more')",
    "abort": "import os, resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\nos.abort()",
    "a kill": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "SIGTERM": "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)",
    "Ctrl-C": "import os, signal, sys\nsys.excepthook = id\nos.kill(os.getpid(), signal.SIGINT)",
    "a broken pipe": "import os\nr, w = os.pipe()\nos.close(r)\nos.write(w, b'x')",
    "an exception": """
        import sys
        def show(kind, error, trace): print("seen", kind, error)
        sys.excepthook = show
        1 / 0
    """,
    "a child": """
        import os, sys
        if os.fork() == 0: sys.exit(5)
        print(os.waitstatus_to_exitcode(os.wait()[1]))
    """,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_does_and_ends_as_an_interpreter_does(name: str, tmp_path: Path) -> None:
    source = textwrap.dedent(SCRIPTS[name])
    fork = PipedScript(source, "an", "argument", cwd=tmp_path)
    output, errors = fork.communicate()
    command = [sys.executable, "-P", "-c", source, "an", "argument"]
    own = subprocess.run(
        command, cwd=tmp_path, env=os.environ, input="", capture_output=True, text=True
    )
    assert (output, fork.returncode) == (own.stdout, own.returncode)
    assert errors.splitlines()[-1:] == own.stderr.splitlines()[-1:]


def test_what_goes_through_its_streams_and_signals() -> None:
    fork = PipedScript("print(input(), flush=True)\ninput()")
    print("words", file=fork.stdin, flush=True)
    assert fork.stdout.readline() == "words\n"
    assert fork.poll() is None
    fork.send_signal(signal.SIGTERM)
    assert fork.communicate() == ("", "")
    assert fork.returncode == -signal.SIGTERM


def test_torch_is_there_before_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEW", "here")
    script = PipedScript("import os, sys\nprint('torch' in sys.modules, os.environ['NEW'])")
    assert script.communicate() == ("True here\n", "")


def test_a_variable_that_only_a_new_interpreter_reads_is_known() -> None:
    assert can_fork_with({"HOME": "/"})
    assert not can_fork_with({"PYTHONWARNINGS": "error"})
    assert not can_fork_with({"OMP_NUM_THREADS": "2"})


WHAT_A_RENDERER_SEES = """
    import json, os, signal
    seen = [__name__, sys.argv, sys.path, str(sys.flags), os.getcwd(), sorted(os.environ.items())]
    seen += [str(signal.getsignal(each)) for each in sorted(signal.valid_signals())]
    seen += [os.getpid() == os.getpgid(0), os.getppid(), os.sched_getscheduler(0)]
    seen += [os.readlink(f"/proc/self/fd/{each}").split(":")[0] for each in range(3)]
    seen.append(sorted(os.listdir("/proc/self/fd")))
    with open("FILE", "w") as file:
        json.dump(seen, file)
"""


def test_a_forked_renderer_sees_what_one_of_a_new_interpreter_sees(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_before_serving(monkeypatch, WHAT_A_RENDERER_SEES.replace("FILE", str(tmp_path / "seen")))

    assert is_next_renderer_forked()
    forked = (tmp_path / "seen").read_text()
    with new_interpreters():
        assert not is_next_renderer_forked()
    assert forked == (tmp_path / "seen").read_text()


def test_a_renderer_that_would_start_otherwise_is_not_forked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert not is_next_renderer_forked()


def is_next_renderer_forked() -> bool:
    """Starts one and waits for its end."""
    renderer = renderer_process.start()
    renderer.channel.close()
    assert renderer.process.wait(60) == 0
    renderer.complaints.close()
    return isinstance(renderer.process, ForkedProcess)
