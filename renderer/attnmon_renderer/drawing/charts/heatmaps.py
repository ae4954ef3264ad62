"""The charts that show attention maps as they are: one map, a layer's heads, several layers."""

from attnmon_renderer.drawing.layout.panel_grid import column_count
from attnmon_renderer.drawing.layout.panel_page import PanelPageOptions, panel_page
from attnmon_renderer.drawing.layout.panel_scale import shared_scale
from attnmon_renderer.drawing.spec.figure_data import HeadGridData, HeatmapData, LayerComparisonData
from attnmon_renderer.drawing.spec.page import Page
from attnmon_renderer.drawing.spec.panel import Panel


def heatmap(data: HeatmapData, options: PanelPageOptions | None = None) -> Page:
    """Lay out one attention map, large."""
    panel = Panel("", data.values, data.masked, data.queries, data.keys)
    return panel_page(data.caption, (panel,), 1, shared_scale((panel,), data.top), options)


def head_grid(data: HeadGridData) -> Page:
    """Lay out all heads of a layer, in the order given, on one colour scale."""
    panels = tuple(
        Panel(label, values, data.masked, data.queries, data.keys)
        for label, values in zip(data.labels, data.values, strict=True)
    )
    return panel_page(
        data.caption, panels, column_count(len(panels)), shared_scale(panels, data.top)
    )


def layer_comparison(data: LayerComparisonData) -> Page:
    """Lay out one panel for each layer, in the order given, on one colour scale."""
    columns = column_count(len(data.panels))
    return panel_page(data.caption, data.panels, columns, shared_scale(data.panels, data.top))
