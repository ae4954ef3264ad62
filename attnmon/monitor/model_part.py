"""Says of a model that is split over processes that only a part of it is seen."""

from torch import nn

from attnmon.accounting.error_guard import ErrorGuard
from attnmon.config.coordinates import Coordinates, find_coordinates
from attnmon.config.settings import Settings


class ModelPart:
    """Looks once, at the first model that is logged, which part of it this process holds."""

    def __init__(self, settings: Settings, guard: ErrorGuard) -> None:
        self._settings = settings
        self._guard = guard
        self._is_told = settings.world_size == 1

    def tell(self, model: nn.Module | None) -> None:
        """Warn of what is not seen. Where maps would be wrong, the monitor is switched off."""
        if self._is_told or not isinstance(model, nn.Module):
            return
        self._is_told = True
        place = self._settings.coordinates or find_coordinates(model)
        if place is None:
            return
        if place.context[1] > 1:
            self._guard.switch_off(f"{place.describe()}: {_CONTEXT}")
        elif place.holds_a_part and self._settings.ranks != "model":
            self._guard.warn_once("part", _part(place))


def _part(place: Coordinates) -> str:
    missing = [what for what, (_, count) in (("layers", place.pipeline), ("heads", place.tensor))
               if count > 1]  # fmt: skip
    return (
        f"this process holds a part of the model ({place.describe()}), and only that is shown: "
        f'the {" and ".join(missing)} of the other processes are not. ranks="model" shows one '
        "replica as one model"
    )


_CONTEXT = (
    "attention is not shown under context parallelism. Each call sees a part of the keys, and its "
    "softmax is not that of the whole row: its maps would be wrong"
)
