"""Lengths and letters of a page, in pixels."""

from dataclasses import dataclass
from functools import cached_property

from attnmon_renderer.drawing.spec.page import Font


@dataclass(frozen=True)
class FontSizes:
    """Those of a page `unit` times as large as a single map's."""

    unit: float

    def px(self, length: float) -> int:
        return round(length * self.unit)

    @cached_property
    def title(self) -> Font:
        return Font(self.px(36), bold=True)

    @cached_property
    def run(self) -> Font:
        return Font(self.px(29))

    @cached_property
    def note(self) -> Font:
        return Font(self.px(23))

    @cached_property
    def label(self) -> Font:
        return Font(self.px(22))

    @cached_property
    def axis(self) -> Font:
        return Font(self.px(24))

    @cached_property
    def tick(self) -> Font:
        return Font(self.px(22))

    @cached_property
    def margin(self) -> int:
        return self.px(26)

    @cached_property
    def tick_length(self) -> int:
        return self.px(7)

    @cached_property
    def tick_gap(self) -> int:
        """From the end of a tick to its label."""
        return self.px(6)
