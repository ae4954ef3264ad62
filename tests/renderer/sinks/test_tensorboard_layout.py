"""TensorBoard's page of custom scalars, read by TensorBoard's own reader."""

import re
from pathlib import Path

from support.outputs import tensorboard
from tensorboard.plugins.custom_scalar import layout_pb2

from attnmon_renderer.results import Results
from attnmon_renderer.sinks.tensorboard import TensorBoard
from attnmon_renderer.sinks.tensorboard_layout import MOVING


def test_the_curves_of_all_layers_stand_together(tmp_path: Path) -> None:
    names = ("encoder_layer0", "encoder_layer11", "decoder_layer2_self", "decoder_layer2_cross")
    tags = [f"attention/{name}_{what}" for name in names for what in ("mean", "entropy")]
    events = TensorBoard(tmp_path / "tensorboard")
    events.write(Results("step_1", 1, 1.0, loss=2.0, scalars=dict.fromkeys(tags, 0.5)))
    events.close()
    found = tensorboard(tmp_path)
    (tensor,) = found.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(tensor.tensor_proto.string_val[0])
    charts = {chart.title: chart.multiline.tag[0] for chart in layout.category[0].chart}
    shown = {
        title: [tag for tag in found.Tags()["scalars"] if re.match(pattern, tag)]
        for title, pattern in charts.items()
    }
    assert next(iter(shown)) == "loss"
    assert len(shown) == 1 + 3 * len(MOVING)
    assert {title: tags for title, tags in shown.items() if tags} == {
        "loss": ["train/loss"],
        "entropy, mean of the heads · encoder": [
            "attention/encoder_layer0_entropy",
            "attention/encoder_layer11_entropy",
        ],
        "entropy, mean of the heads · decoder self-attention": [
            "attention/decoder_layer2_self_entropy"
        ],
        "entropy, mean of the heads · decoder cross-attention": [
            "attention/decoder_layer2_cross_entropy"
        ],
    }
