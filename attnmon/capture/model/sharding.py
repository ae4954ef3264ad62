"""Whether a model's parameters are spread over several processes."""

from torch import nn


def is_sharded(model: nn.Module) -> bool:
    """Returns whether the model's forward gathers its parameters from other processes.

    One process alone cannot make an extra forward of such a model: it would wait for the others for
    ever. FSDP1 is recognised by its class, FSDP2 and tensor parallelism by DTensor, ZeRO-3 by the
    attribute that it sets.
    """
    if any(_has_class_named(module, "FullyShardedDataParallel") for module in model.modules()):
        return True
    return any(_has_class_named(p, "DTensor") or hasattr(p, "ds_id") for p in model.parameters())


def _has_class_named(value: object, name: str) -> bool:
    return any(base.__name__ == name for base in type(value).__mro__)
