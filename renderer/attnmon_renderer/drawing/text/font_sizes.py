"""The fonts and lengths of a page, in pixels."""

from dataclasses import dataclass
from functools import cached_property

from attnmon_renderer.drawing.spec.page import Font


@dataclass(frozen=True)
class FontSizes:
    """Fonts and lengths that grow with the page."""

    unit: float
    """1 for the page of a single map; larger pages have larger fonts."""

    def px(self, length: float) -> int:
        """Return the pixels of a length that is given for a page of unit 1."""
        return round(length * self.unit)

    @cached_property
    def title(self) -> Font:
        return Font(self.px(36), bold=True)

    @cached_property
    def run(self) -> Font:
        """The font of the caption's second line, which says where the training stood."""
        return Font(self.px(29))

    @cached_property
    def note(self) -> Font:
        """The font of the caption's note."""
        return Font(self.px(23))

    @cached_property
    def label(self) -> Font:
        """The font of the panels' labels."""
        return Font(self.px(22))

    @cached_property
    def axis(self) -> Font:
        """The font of axis titles."""
        return Font(self.px(24))

    @cached_property
    def tick(self) -> Font:
        return Font(self.px(22))

    @cached_property
    def margin(self) -> int:
        """Free pixels at the edges of the page."""
        return self.px(26)

    @cached_property
    def tick_length(self) -> int:
        return self.px(7)

    @cached_property
    def tick_gap(self) -> int:
        """Pixels from the end of a tick to its label."""
        return self.px(6)
