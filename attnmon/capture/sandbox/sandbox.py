"""The sandbox: an extra forward in it changes nothing, or is stopped and says why."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode, _pop_mode, _push_mode

from attnmon.capture.model.module_names import calling_module
from attnmon.capture.sandbox.communication import no_communication
from attnmon.capture.sandbox.held_objects import HeldObjects
from attnmon.capture.sandbox.kept_copies import KeptCopies
from attnmon.capture.sandbox.operator_guard import OperatorGuard
from attnmon.capture.sandbox.own_memory import OwnMemory, storages_of
from attnmon.capture.sandbox.raw_access import RawAccess
from attnmon.capture.sandbox.stopped import ForwardStopped, ThreadReaches

_WITHOUT_CLASSES = torch._C.DisableTorchFunctionSubclass
"""Around what looks at tensors: what a class of them does then would not be put back."""


class Sandbox:
    """What is known of one forward while it runs."""

    def __init__(self, model: nn.Module, names: Mapping[int, str]) -> None:
        self.stopped: ForwardStopped | None = None
        """Why the forward was stopped first; a model may have caught that."""
        self.kept = KeptCopies()
        self.own = OwnMemory()
        """The memory that it may write to: what it makes, and the copies of the buffers."""
        for buffer in model.buffers():
            self.own.add(buffer)
        self.guard = OperatorGuard(self.own, self.kept, self.stop)
        self.raw_access = RawAccess(self.own, self._keep, self.stop)
        self._names = names
        self._model = model

    def stop(self, action: str, tensor: Tensor | None = None) -> None:
        """Ends the forward. Raises `ForwardStopped`, at each call anew."""
        if tensor is not None:
            action = f"{action} {self._described(tensor)}"
        module = self._names.get(id(calling_module(self._names)), "")
        self.stopped = self.stopped or ForwardStopped(action, module)
        raise self.stopped

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Lets everything pass: for attnmon's own code inside the forward."""
        before = self.guard.paused
        self.guard.paused = self.raw_access.paused = True
        is_on_top = _get_current_dispatch_mode() is self.guard
        if is_on_top:  # it would be asked a thousand times
            _pop_mode()
        try:
            yield
        finally:
            if is_on_top:
                _push_mode(self.guard)
            self.guard.paused = self.raw_access.paused = before

    def _keep(self, tensor: Tensor) -> bool:
        with self.paused():
            return self.kept.keep(tensor)

    def _described(self, tensor: Tensor) -> str:
        written = {storage._cdata for storage in storages_of(tensor)}
        for name, parameter in self._model.named_parameters():
            if not written.isdisjoint(storage._cdata for storage in storages_of(parameter)):
                return f"the parameter {name}"
        return f"a tensor {[*tensor.shape]} that was there before the forward"


@contextmanager
def sandboxed(
    model: nn.Module, names: Mapping[int, str], inputs: object = None
) -> Iterator[Sandbox]:
    """Runs its body where it can change nothing that was there before.

    It is for a model whose buffers are copies (`preserve_state`): they may be written to. What the
    model's modules and the inputs hold is put back exactly.

    names: modules' names by id (`module_names`).

    Raises `ForwardStopped` where the body was stopped, whatever it made of that; and where it has
    changed what cannot be put back. Then it must not be run again. Raises `ThreadReaches` before it
    begins if another thread could change what is put back.
    """
    _refuse_uninitialized(model)
    sandbox = Sandbox(model, names)
    with _WITHOUT_CLASSES():
        held = HeldObjects(model, inputs, sandbox.own, sandbox.stop)
    if held.irreversible:
        raise ForwardStopped(f"could not be undone: {held.irreversible} is held", "")
    if (thread := held.reaching_thread) is not None:
        raise ThreadReaches(thread)
    held.stop_iterators()
    try:
        with no_communication(sandbox.stop), sandbox.raw_access, sandbox.guard:
            yield sandbox
    finally:
        sandbox.kept.put_back()
        with _WITHOUT_CLASSES():
            failure = held.put_back()
            _raise_if_stopped(sandbox, held, failure)


def _raise_if_stopped(sandbox: Sandbox, held: HeldObjects, failure: str) -> None:
    if sandbox.stopped is not None:
        raise sandbox.stopped from None
    if failure:
        raise ForwardStopped(f"has changed what could not be put back ({failure})", "")
    if held.written_to:
        raise ForwardStopped(f"has written to {held.written_to} in a way that nothing shows", "")


def _refuse_uninitialized(model: nn.Module) -> None:
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if torch.nn.parameter.is_lazy(value):
            raise ForwardStopped(f"would have made the parameter {name}, which is lazy", "")
