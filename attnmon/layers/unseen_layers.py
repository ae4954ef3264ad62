"""The attention of a model that is not captured, and why."""

from collections.abc import Callable, Iterable

from torch import nn

from attnmon.accounting.error_guard import ErrorGuard
from attnmon.capture import is_told, silent_modules


class UnseenLayers:
    """The modules that attend, or seem to, and are not captured, with the reason.

    Tells the error guard of each change, for the list in `summary.json`.
    """

    def __init__(self, guard: ErrorGuard, seen: Callable[[], Iterable[str]]) -> None:
        """`seen`: returns the names of the modules whose attention was seen."""
        self._guard = guard
        self._seen = seen
        self._refused: dict[str, str] = {}
        """The reason by module, of attention that cannot be captured."""
        self._silent: list[tuple[str, str]] = []
        """Modules that look like attention, and what is said if nothing was seen of them."""
        self._missed = ""

    def clear(self) -> None:
        """Forget the modules: the model is another one."""
        self._refused, self._silent = {}, []
        self.tell()

    def refuse(self, name: str, reason: str) -> None:
        """Note that this module attends in a way that cannot be captured."""
        if self._refused.get(name) != reason:
            self._refused[name] = reason
            self.tell()

    def forget_refused(self, is_kept: Callable[[str], bool] = lambda name: False) -> None:
        """Forget which modules cannot be captured, but for those of these names."""
        self._refused = {name: why for name, why in self._refused.items() if is_kept(name)}
        self.tell()

    def find_silent(self, model: nn.Module | None) -> None:
        """Note the modules that look like attention."""
        self._silent = [] if model is None else silent_modules(model)
        self.tell()

    def set_missed(self, why: str) -> None:
        """Note why the model's latest forward was not seen; empty if it was."""
        if why != self._missed:
            self._missed = why
            self.tell()

    def rows(self) -> list[tuple[str, str]]:
        """Return (module, reason) of all that is not captured."""
        told = {*self._seen(), *self._refused}
        silent = [(name, why) for name, why in self._silent if not is_told(name, told)]
        missed = [("", self._missed)] if self._missed else []
        return [*self._refused.items(), *silent, *missed]

    def tell(self) -> None:
        """Tell the error guard what is not captured now."""
        self._guard.set_not_seen(f"{name or 'the model'}: {why}" for name, why in self.rows())
