"""Where attention is found in a forward: the tap, the probe, names and roles.

Gives `Observation`s, tensors of the model's own, and decides nothing of what becomes of them.
"""

from attnmon.capture.anatomy import (
    Anatomy,
    has_a_fast_path,
    modules_in,
    run_as_written,
)
from attnmon.capture.compiled import compilations, reaches_compiled
from attnmon.capture.forward import (
    ForwardTap,
    Inputs,
    is_sharded,
    tensors_in,
)
from attnmon.capture.given import RECORDED, given
from attnmon.capture.inputs import ForwardFunction, InputError, ModelCall, model_call
from attnmon.capture.naming import module_names, unwrap
from attnmon.capture.observation import Observation, is_causal, with_evident_mask
from attnmon.capture.plain import Look, PlainCall
from attnmon.capture.probe import Discovery, discover, probe
from attnmon.capture.recompute import doubt, measured_error
from attnmon.capture.roles import ROLES, Position, Role, Sighting, assign_roles, parse_role
from attnmon.capture.tap import Tap

__all__ = [
    "RECORDED",
    "ROLES",
    "Anatomy",
    "Discovery",
    "ForwardFunction",
    "ForwardTap",
    "InputError",
    "Inputs",
    "Look",
    "ModelCall",
    "Observation",
    "PlainCall",
    "Position",
    "Role",
    "Sighting",
    "Tap",
    "assign_roles",
    "compilations",
    "discover",
    "doubt",
    "given",
    "has_a_fast_path",
    "is_causal",
    "is_sharded",
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
