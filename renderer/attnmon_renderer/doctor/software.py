"""Checks of the software: packages, forking, torch's attention kernels, and a trial capture."""

import json
import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from attnmon_renderer.doctor.finding import Finding, run_python
from attnmon_renderer.doctor.trial_capture import draw_trial_capture

PACKAGES = (
    "attnmon", "torch", "numpy", "matplotlib", "pillow", "tensorboardX", "msgpack", "safetensors",
)  # fmt: skip
TORCH_SECONDS = 120.0


def check_packages(topic: str) -> Iterator[Finding]:
    missing = []
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            missing.append(package)
    if missing:
        then = f"missing: {', '.join(missing)}; install attnmon with its dependencies"
        yield Finding(topic, "fail", ", ".join(found), then)
    else:
        yield Finding(topic, "pass", ", ".join(found))


def check_forks(topic: str) -> Iterator[Finding]:
    count = (
        "import os, attnmon_renderer.supervision.supervisor; "
        "print(len(os.listdir('/proc/self/task')))"
    )
    threads = run_python(count) if Path("/proc/self/task").exists() else "unknown"
    found = f"the renderer's first process forks with {threads} thread(s)"
    if threads not in ("1", "unknown"):
        yield Finding(topic, "fail", found, "something loads threads at start; look at .pth files")
    elif not hasattr(os, "register_at_fork"):
        yield Finding(topic, "fail", found, "forked DataLoader workers cannot be told apart")
    else:
        yield Finding(topic, "pass", found, "in forked DataLoader workers the monitor does nothing")


_TORCH_CODE = """
import json, torch
from torch.backends import cuda
kernels = [name for name in ("flash", "mem_efficient", "math", "cudnn")
           if getattr(cuda, name + "_sdp_enabled", lambda: False)()]
try:
    import torch.nn.attention.flex_attention
    kernels.append("flex")
except ImportError:
    pass
gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
print(json.dumps([torch.__version__, gpu, kernels]))
"""


def check_torch(topic: str) -> Iterator[Finding]:
    version, gpu, kernels = json.loads(run_python(_TORCH_CODE, TORCH_SECONDS))
    found = f"torch {version}, {gpu or 'no GPU'}; attention kernels allowed: {', '.join(kernels)}"
    then = "they return no weights; these are recomputed from query and key, for one sample"
    yield Finding(topic, "pass", found, then)


_SCRIPTS = {
    "Chinese": "中", "Japanese": "か", "Korean": "한", "Arabic": "ع", "Hebrew": "ש", "Hindi": "ह",
    "Thai": "ท", "emoji": "\N{ROBOT FACE}",
}  # fmt: skip
"""A character of each."""


def check_fonts(topic: str) -> Iterator[Finding]:
    from attnmon_renderer.drawing.spec.page import Font
    from attnmon_renderer.drawing.text.font_advice import advise
    from attnmon_renderer.drawing.text.fonts import missing_characters

    missing = missing_characters(_SCRIPTS.values(), Font(20))
    able = [name for name, character in _SCRIPTS.items() if character not in missing]
    yield Finding(topic, "pass", f"labels of pictures can be in {', '.join(['Latin', *able])}")
    if missing:
        unable = [name for name in _SCRIPTS if name not in able]
        yield Finding(topic, "note", f"no font for {', '.join(unable)}", advise(missing))


def check_trial_capture(topic: str) -> Iterator[Finding]:
    yield Finding(topic, "pass", f"one capture drawn and recorded in {draw_trial_capture():.1f} s")
