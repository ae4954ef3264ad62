"""Finds the attention calls in a model's forward, by a tap or by a probe.

Reports `AttentionCall`s, whose tensors are the model's own, to a `TapListener`.
"""

from attnmon.capture.calls.attention_call import (
    AttentionCall,
    UnknownOrder,
    is_causal,
    with_evident_mask,
)
from attnmon.capture.calls.call_info import CallInfo
from attnmon.capture.calls.manual_call import RECORDED, manual_call
from attnmon.capture.calls.verification import approximation_note, measured_error
from attnmon.capture.discovery import Discovery, NotDivisible, discover
from attnmon.capture.forward_tap import ForwardTap, TapScope
from attnmon.capture.kernels.sdpa import CallSignature, SdpaCall
from attnmon.capture.layouts import FollowedLayouts, KnownLayouts
from attnmon.capture.lineage.layout import Layout, join_notes
from attnmon.capture.model.compiled import compilations, reaches_compiled
from attnmon.capture.model.fingerprint import fingerprint
from attnmon.capture.model.input_parts import copy_of, with_leaves
from attnmon.capture.model.inputs import (
    GivenInputs,
    InputError,
    Inputs,
    ModelCall,
    holds_nested,
    inputs_in,
    model_call,
)
from attnmon.capture.model.module_index import (
    ModuleIndex,
    has_fast_path,
    is_uncompiled,
    modules_in,
)
from attnmon.capture.model.module_names import module_names, unwrap
from attnmon.capture.model.sharding import is_sharded
from attnmon.capture.model.silent_modules import is_told, silent_modules
from attnmon.capture.module_tap import OTHERWISE, CallsByName
from attnmon.capture.probe import probe
from attnmon.capture.sandbox.other_threads import ReachingThread
from attnmon.capture.sandbox.stopped import ForwardStopped, ThreadReaches
from attnmon.capture.tap import Tap
from attnmon.capture.tap_listener import CallListener, TapListener

__all__ = [
    "OTHERWISE",
    "RECORDED",
    "AttentionCall",
    "CallInfo",
    "CallListener",
    "CallSignature",
    "CallsByName",
    "Discovery",
    "FollowedLayouts",
    "ForwardStopped",
    "ForwardTap",
    "GivenInputs",
    "InputError",
    "Inputs",
    "KnownLayouts",
    "Layout",
    "ModelCall",
    "ModuleIndex",
    "NotDivisible",
    "ReachingThread",
    "SdpaCall",
    "Tap",
    "TapListener",
    "TapScope",
    "ThreadReaches",
    "UnknownOrder",
    "approximation_note",
    "compilations",
    "copy_of",
    "discover",
    "fingerprint",
    "has_fast_path",
    "holds_nested",
    "inputs_in",
    "is_causal",
    "is_sharded",
    "is_told",
    "is_uncompiled",
    "join_notes",
    "manual_call",
    "measured_error",
    "model_call",
    "module_names",
    "modules_in",
    "probe",
    "reaches_compiled",
    "silent_modules",
    "unwrap",
    "with_evident_mask",
    "with_leaves",
]
