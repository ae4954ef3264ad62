"""The first trainings of the suite, which the rules were chosen on: sick and healthy ones.

They were halved before any of them was run, and the rules were first chosen on "choosing" alone.
Since the other half was looked at, it can judge no changed rule: `insightlib.held_out` does.
"""

from typing import Any, Literal

from insightlib.configuration import WILD, Configuration, healthy, shape_of, sick
from insightlib.held_out import HELD_OUT
from insightlib.models import Shape

Half = Literal["held out", "reported", "choosing"]

_TEXT = Configuration("text", "text")
_COPY = Configuration("copy", "copy", lr=4e-3, batch=32)
_REVERSE = Configuration("reverse", "reverse", lr=2e-3)
_MARKER = Configuration("marker", "marker", lr=2e-3)
_PATCHES = Configuration("patches", "patches", lr=1e-3)
_DEEP = Configuration("deep", "text", Shape(width=32, layers=6, norm="pre"))
_POST = Configuration("post", "text", Shape(width=32, layers=6, norm="post"), warmup=120, lr=5e-4)
TWINS = (_TEXT, _COPY, _REVERSE, _MARKER, _PATCHES, _DEEP, _POST)


SICK = (
    sick(_TEXT, "lr_high", lr=3e-2, **WILD),
    sick(_COPY, "lr_high", lr=3e-2, **WILD),
    sick(_PATCHES, "lr_high", lr=3e-2, **WILD),
    sick(_MARKER, "lr_high", lr=3e-2, **WILD),
    sick(_DEEP, "no_warmup", lr=1e-2, **WILD),
    sick(_POST, "no_warmup", lr=4e-3, **WILD),
    sick(_TEXT, "ramp", ramp=1.02, decays=False),
    sick(_REVERSE, "ramp", ramp=1.02, decays=False),
    sick(_COPY, "jump", jump=30.0),
    sick(_MARKER, "jump", jump=30.0),
    sick(_TEXT, "qk_lr_high", qk_lr=40.0, clip=0.0),
    sick(_PATCHES, "qk_lr_high", qk_lr=40.0, clip=0.0),
    sick(_REVERSE, "qk_lr_high", qk_lr=40.0, clip=0.0),
    sick(_TEXT, "qk_ramp", qk_ramp=1.025),
    sick(_REVERSE, "qk_ramp", qk_ramp=1.025),
    sick(_COPY, "qk_ramp", qk_ramp=1.025),
    sick(_TEXT, "qk_gain", shape=shape_of(_TEXT, qk_gain=10.0)),
    sick(_MARKER, "qk_gain", shape=shape_of(_MARKER, qk_gain=10.0)),
    sick(_COPY, "no_scale", shape=shape_of(_COPY, scale=1.0, qk_gain=3.0)),
    sick(_REVERSE, "no_scale", shape=shape_of(_REVERSE, scale=1.0, qk_gain=3.0)),
    sick(_TEXT, "half", shape=shape_of(_TEXT, half=True), qk_ramp=1.05),
    sick(_REVERSE, "source_ignored", shape=shape_of(_REVERSE, ignores_source=True)),
    sick(_COPY, "frozen_qk", frozen_qk=True),
    sick(_COPY, "tied_heads", shape=shape_of(_COPY, tied_heads=True)),
    sick(_MARKER, "zero_query", shape=shape_of(_MARKER, zero_query=True), frozen_qk=True),
    sick(_TEXT, "qk_norm_ramp", shape=shape_of(_TEXT, qk_norm=True), qk_ramp=1.03),
    sick(_TEXT, "ahead", "mask", shape=shape_of(_TEXT, mask="ahead")),
    sick(_COPY, "ahead_by_hand", "mask", shape=shape_of(_COPY, mask="ahead", by_hand=True)),
    sick(_REVERSE, "no_causal_mask", "mask", shape=shape_of(_REVERSE, mask="none")),
    sick(_REVERSE, "ahead", "mask", shape=shape_of(_REVERSE, mask="ahead")),
    sick(_MARKER, "inverted", "mask", shape=shape_of(_MARKER, padding="inverted")),
    sick(_MARKER, "open", "mask", shape=shape_of(_MARKER, padding="open")),
    sick(_REVERSE, "open", "mask", shape=shape_of(_REVERSE, padding="open")),
)
HEALTHY = (
    *TWINS,
    healthy(_TEXT, "sink", shape=shape_of(_TEXT, sink=5.0)),
    healthy(_COPY, "sink", shape=shape_of(_COPY, sink=6.0)),
    healthy(_TEXT, "qk_norm", shape=shape_of(_TEXT, qk_norm=True)),
    healthy(_COPY, "softcap", shape=shape_of(_COPY, softcap=20.0)),
    healthy(_PATCHES, "heads", shape=shape_of(_PATCHES, heads=8)),
    healthy(_TEXT, "edge", lr=6e-3),
    healthy(_COPY, "edge", lr=8e-3),
    healthy(_REVERSE, "edge", lr=5e-3),
    healthy(_PATCHES, "edge", lr=4e-3),
    healthy(_TEXT, "changed", changes_at=200),
    healthy(_TEXT, "resumed", resumes_at=200),
    healthy(_COPY, "small_batch", batch=8),
    healthy(_REVERSE, "dropout", shape=shape_of(_REVERSE, dropout=0.1)),
    healthy(_TEXT, "one_head", shape=shape_of(_TEXT, heads=1)),
    healthy(_COPY, "by_hand", shape=shape_of(_COPY, by_hand=True)),
    healthy(_TEXT, "long", steps=1000),
)
_PYTHON = Configuration("python", "python")
_LONG: dict[str, Any] = {"steps": 1000}
LATER = (
    _PYTHON,
    healthy(_PYTHON, "dropout", shape=shape_of(_PYTHON, dropout=0.1)),
    healthy(_PYTHON, "small_batch", batch=4),
    *(healthy(each, "long", **_LONG) for each in (_PYTHON, _COPY, _REVERSE, _MARKER, _PATCHES)),
    Configuration(
        "language_model", "python", Shape(width=128, layers=4, dropout=0.1), warmup=100, steps=1500,
        length=128,
    ),
)  # fmt: skip
"""Healthy ones that were added when the rules had long been fixed: all of them are reported.

Each task that learns within 400 steps is there once for 1,000; the last is a language model of
characters with 0.8 million parameters.
"""
ALL = (*HELD_OUT, *SICK, *HEALTHY, *LATER)
HALF: dict[str, Half] = {
    each.name: ("choosing", "reported")[index % 2]
    for group in (
        [one for one in SICK if one.fault == "attention"],
        [one for one in SICK if one.fault == "mask"],
        HEALTHY,
    )
    for index, each in enumerate(group)
}
"""Every other configuration of each kind, in the order above, and all later ones."""
HALF.update({each.name: "reported" for each in LATER})
HALF.update({each.name: "held out" for each in HELD_OUT})
