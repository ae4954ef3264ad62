"""The image beside a capture: what is wrong with it costs its pictures, and never the capture."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from support.collecting import FakeSession
from support.vision import images

from attnmon.accounting.error_guard import ErrorGuard
from attnmon.collector.inputs.image_collector import ImageCollector
from attnmon.config.settings import checked_settings
from attnmon.layers.layer_registry import LayerRegistry
from attnmon.layers.layer_selection import LayerSelection
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon.link.records.sample_image import SampleImage
from attnmon.serialize.capture_builder import RingFull, TooLarge

PIXELS = ArrayBlock(0, "uint8", (32, 48, 3))
LAYER = Attention(
    "blocks.0", "encoder", 0, "self_attention", "softmax", (0, 1),
    weights=ArrayBlock(0, "float32", (2, 24, 24)),
)  # fmt: skip


@pytest.mark.parametrize("full", [None, RingFull("it is behind"), TooLarge("of 9 MB")], ids=repr)
def test_an_image_without_room_is_left_out_and_that_is_said(
    full: Exception | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session = FakeSession()
    session.ring_writer = Mock(write_bytes=Mock(return_value=PIXELS, side_effect=full))  # type: ignore[attr-defined]
    settings = checked_settings(options={"patch_grid": (4, 6)}, save_dir=tmp_path)
    settings = replace(settings, visualization_types=("image_overlay",))
    registry = LayerRegistry(LayerSelection(None, None), ErrorGuard(), dict)
    collector = ImageCollector(settings, session, registry)  # type: ignore[arg-type]
    builder = session.new_builder(sample=0, seen_in="forward", retained=False)
    builder.attentions.append(LAYER)
    collector.write(builder, images(2, 32, 48))
    assert builder.attentions == [LAYER]
    assert isinstance(builder.image, SampleImage) == (full is None)
    said = f"goes without its image, so that no attention is laid over it there: {full}"
    assert (said in caplog.text) == (full is not None)
