"""The trainings that the rules are judged on: written down, and committed, before any was run.

Tasks and models are others than those that rules were chosen on. The faults are of the kinds of
those, one of each kind, so that what harms gradually and what harms at once are there in the same
proportion.
"""

from dataclasses import replace

from insightlib.configuration import WILD, Configuration, healthy, shape_of, sick
from insightlib.models import Shape

_STEPS, _FAULT = 300, 100

_CODE = Configuration("code", "code", Shape(width=64, rotary=True), lr=2e-3, batch=12)
_RECALL = Configuration("recall", "recall", Shape(width=64), lr=4e-3, batch=32)
_HOLD = Configuration("hold", "hold", Shape(width=64, heads=8), lr=3e-3)
_TITLE = Configuration("title", "title", Shape(width=32, heads=2, layers=3), lr=3e-3)
_TRANSLATE = Configuration("translate", "translate", Shape(width=64), lr=3e-3, batch=24)
_BARS = Configuration("bars", "bars", Shape(width=40, heads=2, layers=3), lr=2e-3)
_MAJORITY = Configuration("majority", "majority", Shape(width=64), lr=2e-3)
_DEEP_POST = Configuration(
    "code_post", "code", Shape(width=32, layers=8, norm="post"), warmup=120, lr=5e-4, batch=12
)
_TWINS = (_CODE, _RECALL, _HOLD, _TITLE, _TRANSLATE, _BARS, _MAJORITY, _DEEP_POST)

_SICK = (
    sick(_RECALL, "lr_high", lr=3e-2, **WILD),
    sick(_TRANSLATE, "no_warmup", lr=1.5e-2, **WILD),
    sick(_HOLD, "qk_lr_high", qk_lr=50.0, clip=0.0),
    sick(_RECALL, "qk_ramp", qk_ramp=1.03),
    sick(_CODE, "ramp", ramp=1.025, decays=False),
    sick(_BARS, "jump", jump=40.0),
    sick(_TRANSLATE, "no_scale", shape=shape_of(_TRANSLATE, scale=1.0, qk_gain=3.0)),
    sick(_RECALL, "half", shape=shape_of(_RECALL, half=True), qk_ramp=1.06),
    sick(_DEEP_POST, "no_warmup", lr=6e-3, warmup=0),
    sick(_TRANSLATE, "source_ignored", shape=shape_of(_TRANSLATE, ignores_source=True)),
    sick(_RECALL, "frozen_qk", frozen_qk=True),
    sick(_RECALL, "tied_heads", shape=shape_of(_RECALL, tied_heads=True)),
    sick(_BARS, "zero_query", shape=shape_of(_BARS, zero_query=True), frozen_qk=True),
    sick(_RECALL, "ahead", "mask", shape=shape_of(_RECALL, mask="ahead")),
    sick(_CODE, "no_causal_mask", "mask", shape=shape_of(_CODE, mask="none", by_hand=True)),
    sick(_TRANSLATE, "inverted", "mask", shape=shape_of(_TRANSLATE, padding="inverted")),
    sick(_MAJORITY, "open", "mask", shape=shape_of(_MAJORITY, padding="open")),
)
_HEALTHY = (
    *_TWINS,
    healthy(_HOLD, "edge", lr=8e-3),
    healthy(_HOLD, "long"),
    healthy(_TITLE, "edge", lr=8e-3),
    healthy(_RECALL, "sink", shape=shape_of(_RECALL, sink=5.0)),
    healthy(_MAJORITY, "qk_norm", shape=shape_of(_MAJORITY, qk_norm=True)),
    healthy(_BARS, "edge", lr=6e-3),
    healthy(_CODE, "changed", changes_at=150),
    healthy(_HOLD, "resumed", resumes_at=150),
    healthy(_CODE, "small_batch", batch=4),
    healthy(_TRANSLATE, "dropout", shape=shape_of(_TRANSLATE, dropout=0.1)),
    healthy(_TRANSLATE, "edge", lr=8e-3),
    healthy(_MAJORITY, "by_hand", shape=shape_of(_MAJORITY, by_hand=True)),
)
HELD_OUT = tuple(
    replace(each, steps=800 if each.name == "hold_long" else _STEPS, fault_at=_FAULT)
    for each in (*_SICK, *_HEALTHY)
)
