"""Animations as Pillow, an independent reader, plays them."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageSequence
from support.pictures import attention, decoded, heatmap_data

from attnmon_renderer.drawing import Caption, HeatmapData, Png, render_png
from attnmon_renderer.drawing.backends.apng import MAX_FRAMES, append_frame
from attnmon_renderer.drawing.charts.heatmaps import heatmap


def step(number: int, side: int = 12) -> HeatmapData:
    values = attention(number % 5 + 2, side, side)[number % 2]
    return replace(heatmap_data(values, caption=Caption("layer 0", f"step {number}")), top=1.0)


def animation(all_data: list[HeatmapData]) -> bytes:
    data = b""
    for data_of_frame in all_data:
        data = append_frame(data, heatmap(data_of_frame)).data
    return data


def frames(data: bytes) -> list[np.ndarray]:
    with Image.open(io.BytesIO(data)) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


def test_frames_are_the_pictures_themselves() -> None:
    all_data = [step(number) for number in range(5)]
    for frame, data_of_frame in zip(frames(animation(all_data)), all_data, strict=True):
        assert np.array_equal(frame, decoded(render_png(heatmap(data_of_frame))))


def test_it_loops_for_ever_and_rests_on_the_last_frame() -> None:
    with Image.open(io.BytesIO(animation([step(0), step(1), step(2)]))) as image:
        assert image.info["loop"] == 0
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(image)]
    assert durations[0] == durations[1] < durations[2]


def test_a_viewer_of_png_shows_the_first_frame() -> None:
    with Image.open(io.BytesIO(animation([step(0), step(1)]))) as image:
        assert image.format == "PNG"
        assert np.array_equal(
            np.asarray(image.convert("RGB")), decoded(render_png(heatmap(step(0))))
        )


def test_frames_of_another_size_are_fitted_to_the_first() -> None:
    first, other = step(0), step(1, side=60)
    drawn = frames(animation([first, other, first]))
    assert drawn[1].shape == drawn[0].shape
    assert np.array_equal(drawn[0], drawn[2])
    full = decoded(render_png(heatmap(other)))
    rows, columns = np.minimum(full.shape, drawn[1].shape)[:2]
    assert np.array_equal(drawn[1][:rows, :columns], full[:rows, :columns])


def test_frames_are_bounded_and_the_newest_and_the_first_stay() -> None:
    """With more frames than allowed every second one goes; the run remains in view as a whole."""
    page = heatmap(step(0))
    data = b""
    for _ in range(MAX_FRAMES):
        data = append_frame(data, page).data
    newest = append_frame(data, heatmap(step(1)))
    drawn = frames(newest.data)
    assert len(drawn) == MAX_FRAMES // 2 + 1
    assert np.array_equal(drawn[0], decoded(render_png(heatmap(step(0)))))
    assert np.array_equal(drawn[-1], decoded(render_png(heatmap(step(1)))))


def test_size_is_that_of_the_first_frame() -> None:
    grown: Png = append_frame(animation([step(0)]), heatmap(step(1, side=60)))
    page = heatmap(step(0))
    assert (grown.width, grown.height) == (page.width, page.height)


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "still"])
def test_damaged_files_are_refused(damage: str) -> None:
    data = animation([step(0), step(1)])
    damaged = {
        "cut": data[:-300],
        "flipped": data[:500] + bytes([data[500] ^ 1]) + data[501:],
        "foreign": b"GIF89a",
        "still": data[:8],
    }[damage]
    with pytest.raises(ValueError, match="begin a new"):
        append_frame(damaged, heatmap(step(2)))
