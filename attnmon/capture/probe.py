"""The probe: an extra forward of one sample, in evaluation, that leaves no trace.

It is used where the model's own forward cannot be tapped: with compiled models, or when attention
is logged without a forward before it.
"""

from contextvars import copy_context
from typing import Any

from torch import nn

from attnmon.capture.layouts import FollowedLayouts, KnownLayouts, LayoutSource
from attnmon.capture.model.inputs import ForwardFunction, ModelCall, model_call
from attnmon.capture.model.module_names import module_names, unwrap
from attnmon.capture.model.state_guard import preserve_state
from attnmon.capture.sandbox.sandbox import sandboxed
from attnmon.capture.sandboxed_listener import SandboxedListener
from attnmon.capture.tap import Tap
from attnmon.capture.tap_listener import TapListener


def probe(
    model: nn.Module,
    enc: Any,
    dec: Any,
    listener: TapListener,
    *,
    batch_dim: int | None,
    sample: int = 0,
    forward_fn: ForwardFunction | None = None,
    handwritten: bool = True,
    layouts: LayoutSource | None = None,
    count: int = 1,
) -> ModelCall:
    """Runs the model on one sample under the tap. Returns the call, which says what sample it was.

    batch_dim: as `discover` found it: the dimension that holds the samples; None for no batch.
    handwritten: as in `Tap`; `Discovery.handwritten` says whether it is needed.
    layouts: tells a layout by module name and call index; None follows the tensors to find it.
    count: number of samples to run it on, neighbours of that one.

    Raises `InputError`, what the model's forward raises, and `ForwardStopped` where it would have
    changed something. The model's state is restored in each case (`preserve_state`, `sandboxed`).
    """
    inner = unwrap(model)
    call = model_call(
        inner, enc, dec, sample=sample, batch_dim=batch_dim, forward_fn=forward_fn, count=count
    )
    names, held = module_names(inner), (call.function, call.args, call.kwargs)
    with preserve_state(inner), sandboxed(inner, names, held) as sandbox:
        own_call = call.on_copies()
        known = (
            FollowedLayouts(own_call.followed, batch_dim, bool(own_call.batch))
            if layouts is None
            else KnownLayouts(layouts)
        )
        with Tap(names, SandboxedListener(listener, sandbox), handwritten, known):
            copy_context().run(own_call)  # what it sets of context variables stays there
    return call
