"""The page "Custom scalars" of TensorBoard: the curves that move, those of all layers together.

A run of twelve layers has some fifty charts on the page of all scalars. What tells of a training in
trouble is in a few of them.
"""

from collections.abc import Iterator
from typing import Any

MOVING = {"entropy": "entropy, mean of the heads", "max_logit": "largest logit"}
"""The statistics of layers that have a chart, with its title; the others have a chart a layer."""
_GROUPS = {
    "encoder": r"encoder_layer\d+",
    "decoder self-attention": r"decoder_layer\d+_self",
    "decoder cross-attention": r"decoder_layer\d+_cross",
}


def layout_event(wall_time: float) -> Any:
    """Return the event that lays out the page; a chart without curves is not shown."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.layout_pb2 import Category, Layout
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboardX.proto.tensor_pb2 import TensorProto
    from tensorboardX.proto.tensor_shape_pb2 import TensorShapeProto

    charts = list(_charts())
    layout = Layout(category=[Category(title="attnmon", chart=charts)])
    plugin = SummaryMetadata.PluginData(plugin_name="custom_scalars")
    value = Summary.Value(
        tag="custom_scalars__config__",
        metadata=SummaryMetadata(plugin_data=plugin),
        tensor=TensorProto(
            dtype="DT_STRING",
            string_val=[layout.SerializeToString()],
            tensor_shape=TensorShapeProto(),
        ),
    )
    return Event(wall_time=wall_time, summary=Summary(value=[value]))


def _charts() -> Iterator[Any]:
    yield _chart("loss", "train/loss")
    for statistic, title in MOVING.items():
        for group, layers in _GROUPS.items():
            yield _chart(f"{title} · {group}", f"attention/{layers}_{statistic}")


def _chart(title: str, pattern: str) -> Any:
    from tensorboardX.proto.layout_pb2 import Chart, MultilineChartContent

    return Chart(title=title, multiline=MultilineChartContent(tag=[f"^{pattern}$"]))
