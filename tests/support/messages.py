"""One message of every kind of the protocol."""

from dataclasses import replace

from attnmon.link.messages import Acknowledgement, Capture, Dump, Goodbye, Refusal, Release
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.average_map import AverageMap, AverageTiles
from attnmon.link.records.layer_summary import LayerSummary, SummarisedHeads
from attnmon.link.records.ring_blocks import ArrayBlock, Slots
from attnmon.link.records.run_setup import RenderOptions, Setup
from attnmon.link.records.sample_image import PatchedLayer, SampleImage
from attnmon.link.records.training_accounts import Accounts, Remarks

QUERY = ArrayBlock(0, "float32", (4, 7, 8))
KEY = ArrayBlock(1024, "bfloat16", (2, 9, 8))
LAYER = Attention(
    "decoder.layers.0.self_attn", "decoder", 0, "self_attention", "scaled_dot_product_attention",
    (0, 1, 2, 3), query=QUERY, key=KEY, bias=ArrayBlock(4096, "bool", (7, 9)), scale=0.25,
)  # fmt: skip
SUMMED_UP = replace(
    LAYER,
    query=None,
    key=None,
    bias=None,
    summary=LayerSummary(
        (4, 7, 9), 8, 1, 2, "kernel 0",
        (
            SummarisedHeads(
                ArrayBlock(0, "float32", (4, 2, 16)),
                ArrayBlock(1024, "float32", (4, 1, 2)),
                ArrayBlock(2048, "float32", (4, 6)),
                ArrayBlock(7168, "float32", (4, 2, 7)),
                ArrayBlock(3072, "float32", (4, 7)),
                ArrayBlock(4096, "float32", (2, 9)),
                ArrayBlock(5120, "int32", (4, 7)),
                ArrayBlock(6144, "float16", (4, 35)),
                ArrayBlock(9216, "float32", (4, 9)),
                ArrayBlock(10240, "float32", (4, 2, 9)),
            ),
        ),
        average=AverageMap(
            1, 1,
            (
                AverageTiles(
                    4, 0, ArrayBlock(8192, "float32", (3,)), ArrayBlock(8256, "uint8", (3, 4, 4))
                ),
                AverageTiles(
                    4, 3, ArrayBlock(8320, "float32", (3,)), ArrayBlock(8384, "uint8", (3, 4, 4))
                ),
            ),
        ),
    ),
)  # fmt: skip
CAPTURE = Capture(
    3, 100, True, 1, 0.5, None, 1.5, 0, (Slots(0, 2),), (LAYER,), Accounts(captured=4)
)
PICTURED = replace(
    CAPTURE,
    image=SampleImage(
        ArrayBlock(8192, "uint8", (14, 7, 3)),
        True,
        (PatchedLayer("decoder", 0, "self_attention", 3, 2, 1, True, "assumed"),),
    ),
)
OPTIONS = RenderOptions(("heatmap",), "average", True, False, True, 1024, "mass", "png")
SETUP = Setup("/tmp/x", OPTIONS, 1 << 20, 1 << 16, 12, 2, 3, 4, (("torch", "2"),))
EVERY_KIND = [
    SETUP,
    CAPTURE,
    PICTURED,
    replace(CAPTURE, attentions=(SUMMED_UP,)),
    Goodbye(Accounts()),
    Acknowledgement(7, "disk full", (("a", "b"),)),
    Refusal("stopped"),
    Release(7),
    Dump("the loss is nan", (3, 5), Accounts(captured=2)),
    Remarks("no room", ("encoder: no attention was seen",), ("the batch is empty",)),
]
