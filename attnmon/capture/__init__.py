"""Where attention is found in a forward: the tap, the probe, names and roles.

Gives `AttentionCall`s, tensors of the model's own, and decides nothing of what becomes of them.
"""

from attnmon.capture.calls.attention_call import AttentionCall, is_causal, with_evident_mask
from attnmon.capture.calls.manual_call import RECORDED, manual_call
from attnmon.capture.calls.verification import approximation_note, measured_error
from attnmon.capture.forward_tap import ForwardTap, is_sharded
from attnmon.capture.kernels.sdpa import CallSignature, SdpaCall
from attnmon.capture.listener import CallListener, TapListener
from attnmon.capture.model.compiled import compilations, reaches_compiled
from attnmon.capture.model.inputs import (
    ForwardFunction,
    InputError,
    Inputs,
    ModelCall,
    model_call,
    tensors_in,
)
from attnmon.capture.model.module_index import (
    ModuleIndex,
    has_a_fast_path,
    modules_in,
    run_as_written,
)
from attnmon.capture.model.module_names import module_names, unwrap
from attnmon.capture.model.roles import (
    ROLES,
    CallInfo,
    LayerPosition,
    Role,
    assign_roles,
    parse_role,
)
from attnmon.capture.probe import Discovery, discover, probe
from attnmon.capture.tap import Tap

__all__ = [
    "RECORDED",
    "ROLES",
    "AttentionCall",
    "CallInfo",
    "CallListener",
    "CallSignature",
    "Discovery",
    "ForwardFunction",
    "ForwardTap",
    "InputError",
    "Inputs",
    "LayerPosition",
    "ModelCall",
    "ModuleIndex",
    "Role",
    "SdpaCall",
    "Tap",
    "TapListener",
    "approximation_note",
    "assign_roles",
    "compilations",
    "discover",
    "has_a_fast_path",
    "is_causal",
    "is_sharded",
    "manual_call",
    "measured_error",
    "model_call",
    "module_names",
    "modules_in",
    "parse_role",
    "probe",
    "reaches_compiled",
    "run_as_written",
    "tensors_in",
    "unwrap",
    "with_evident_mask",
]
