"""Where the parts of a page of panels stand: header, grid of panels, colour bar and legend."""

from dataclasses import dataclass
from functools import cached_property

from attnmon_renderer.drawing.layout import labels
from attnmon_renderer.drawing.layout.page_notes import Meaning
from attnmon_renderer.drawing.layout.panel_grid import PanelGrid
from attnmon_renderer.drawing.spec.page import ColorBar, Text
from attnmon_renderer.drawing.spec.palettes import LEVELS
from attnmon_renderer.drawing.spec.panel import Caption
from attnmon_renderer.drawing.spec.scales import Scale
from attnmon_renderer.drawing.text.glyphs import text_width

_LEAST_PAGE_WIDTH = 760
_BAR_GAP, _BAR_WIDTH = 34, 30
_LEAST_BAR_HEIGHT = 4 * LEVELS
"""In pixels of the page; the lengths above are multiplied by the page's unit."""


@dataclass(frozen=True)
class PageGeometry:
    """Positions and lengths on a page of panels, in pixels from its upper left corner."""

    grid: PanelGrid
    scale: Scale
    caption: Caption
    remarks: tuple[str, ...]
    meanings: tuple[Meaning, ...]
    """What the legend lists."""
    headroom: int
    """Free pixels that the chart needs above the maps, on a page of unit 1."""

    @cached_property
    def header(self) -> tuple[Text, ...]:
        """Caption and remarks."""
        return tuple(labels.header_texts(self.caption, self.remarks, self.width, self.grid.sizes))

    @cached_property
    def width(self) -> int:
        """Width of the page."""
        content = sum(self._margins) + self.grid.width
        return max(content, self.grid.sizes.px(_LEAST_PAGE_WIDTH))

    @cached_property
    def left(self) -> int:
        """Left edge of the grid."""
        left, right = self._margins
        return left + (self.width - left - right - self.grid.width) // 2

    @cached_property
    def top(self) -> int:
        """Upper edge of the grid. A grid lower than the least colour bar is centred beside it."""
        spare = max(0, _LEAST_BAR_HEIGHT - self.grid.height)
        gap = self.grid.sizes.px(24 + self.headroom)
        return self.header[-1].y + gap + spare // 2

    @cached_property
    def tick_labels_bottom(self) -> int:
        """Lower edge of the lowest tick labels."""
        return self.top + self.grid.height + self.grid.column_ticks_height

    @cached_property
    def bar(self) -> ColorBar:
        """The colour bar, right of the grid."""
        sizes = self.grid.sizes
        beside = self.grid.height - self.grid.label_height
        height = max(_LEAST_BAR_HEIGHT, beside // LEVELS * LEVELS)
        x = self.left + self.grid.width + sizes.px(_BAR_GAP)
        y = self.top + self.grid.label_height + (beside - height) // 2
        return ColorBar(x, y, sizes.px(_BAR_WIDTH), height, self.scale)

    @cached_property
    def legend_top(self) -> int:
        """Upper edge of the legend, below the colour bar."""
        return max(self.top + self.grid.height, self.bar.y + self.bar.height)

    @cached_property
    def _margins(self) -> tuple[int, int]:
        """Pixels left and right of the grid."""
        sizes = self.grid.sizes
        left = sizes.margin + sizes.axis.size + sizes.px(14) + self.grid.row_ticks_width
        numbers = [labels.format_number(tick) for tick in self.scale.ticks]
        widest = max(text_width(number, sizes.tick) for number in numbers)
        beside = sizes.tick_length + sizes.tick_gap + widest + sizes.px(14) + sizes.axis.size
        bar = sizes.px(_BAR_WIDTH) + beside
        legend = labels.legend_width([meaning for meaning, _ in self.meanings], sizes)
        return left, sizes.px(_BAR_GAP) + max(bar, legend) + sizes.margin
