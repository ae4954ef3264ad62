"""The drawing worker: analyzes a capture, writes its pictures and returns its results.

It knows neither the order of captures nor the training process. If it dies, the supervisor gives
the capture to another worker, which writes the same files again.
"""

import os
import select
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from attnmon.link import messages
from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import Attention, Capture, RenderOptions, Setup
from attnmon_renderer import process_messages
from attnmon_renderer.analysis.arrays import Pixels, read_array
from attnmon_renderer.analysis.layer_analysis import LayerAnalysis, analyze_layer
from attnmon_renderer.analysis.layer_attention import (
    LayerAttention,
    declare_padding,
    share_padding,
)
from attnmon_renderer.analysis.layer_batch import layer_statistics
from attnmon_renderer.analysis.patch_rows import with_patch_rows
from attnmon_renderer.figures.figure_output import (
    animation_frames,
    tensorboard_card,
    write_figure,
)
from attnmon_renderer.figures.figure_plan import (
    NO_MAPS,
    map_sizes,
    missing_figure_notices,
    plan_figures,
)
from attnmon_renderer.figures.figure_source import Analyses
from attnmon_renderer.figures.missing_fonts import missing_font_notices
from attnmon_renderer.process_messages import Drawn
from attnmon_renderer.results import LayerResult, Results, write_to_descriptor
from attnmon_renderer.sinks import raw_weights, statistics_json, tensorboard
from attnmon_renderer.storage import atomic_files, paths, regular_files, step_folder


def run_worker(channel: Channel, setup: Setup, ring: memoryview) -> None:
    """Draw one capture after another, until the supervisor closes the channel."""
    before = 0.0
    try:
        while True:
            select.select([channel], [], [])
            packet = channel.receive()
            if packet is not None:
                capture = messages.decode(packet.data)
                assert isinstance(capture, Capture)
                drawn, results = process_capture(capture, setup, ring)
                used = time.process_time()
                _send_results(channel, replace(drawn, seconds=used - before), results)
                before = used
    except ChannelClosed:
        return


def _send_results(channel: Channel, drawn: Drawn, results: Results | None) -> None:
    try:
        descriptors = [] if results is None else [write_to_descriptor(results)]
    except OSError as error:  # no memory or no descriptor for the results
        descriptors, reasons = [], [drawn.error, f"results: {describe_error(error)}"]
        drawn = replace(drawn, error=process_messages.join_errors(list(filter(None, reasons))))
    channel.send(process_messages.encode(drawn), descriptors)
    for descriptor in descriptors:
        os.close(descriptor)


def process_capture(
    capture: Capture, setup: Setup, ring: memoryview
) -> tuple[Drawn, Results | None]:
    """Draw a capture and return its results; None, with the error, if there are none at all.

    A part that fails is an error of the capture and leaves the others as they are.
    """
    try:
        return _process(capture, setup, ring)
    except Exception as error:
        return Drawn(capture.sequence, process_messages.join_errors([describe_error(error)])), None


def _process(capture: Capture, setup: Setup, ring: memoryview) -> tuple[Drawn, Results]:
    layers = {attention: LayerAttention(attention, ring) for attention in capture.attentions}
    share_padding(layers.values())
    declare_padding(layers.values(), capture, ring)
    options = setup.options
    folder = regular_files.resolved(setup.save_dir) / paths.folder(capture)
    atomic_files.remove_orphans(folder)  # a worker before may have died at this capture
    analyses = with_patch_rows(analyze_all(layers, options), layers, capture.image)
    pixels = None if capture.image is None else read_array(capture.image.pixels, ring)
    results = collect_results(capture, analyses, setup.rank if setup.world_size > 1 else None)
    errors = draw_capture(capture, options, analyses, results, folder, pixels)
    results.frames.extend(animation_frames(capture, options, analyses))
    if options.raw_weights:
        try:
            raw_weights.write_raw(folder, capture, layers, pixels)
        except Exception as error:
            errors.append(f"{raw_weights.NAME}: {describe_error(error)}")
    notices = statistics_json.notices(capture, analyses)
    notices += missing_figure_notices(options, capture, analyses, pixels)
    try:
        notices += missing_font_notices(options, capture)
    except Exception as error:
        errors.append(f"fonts: {describe_error(error)}")
    return Drawn(capture.sequence, process_messages.join_errors(errors), notices), results


def analyze_all(
    layers: Mapping[Attention, LayerAttention], options: RenderOptions
) -> dict[Attention, LayerAnalysis]:
    """Analyze all layers, together where no picture needs a map of them."""
    if map_sizes(options) != NO_MAPS:
        return {attention: analyze(layer, options) for attention, layer in layers.items()}
    found = layer_statistics(list(layers.values()), options.statistics_queries or "all")
    return {
        attention: LayerAnalysis(statistics, None, None)
        for attention, statistics in zip(layers, found, strict=True)
    }


def analyze(layer: LayerAttention, options: RenderOptions) -> LayerAnalysis:
    """Analyze one layer, with maps as large as the pictures need."""
    sizes = map_sizes(options)
    return analyze_layer(
        layer,
        average_side=sizes.average_side,
        head_side=sizes.head_side,
        pooling=options.pooling,
        statistics_queries=options.statistics_queries or "all",
    )


def collect_results(
    capture: Capture, analyses: Mapping[Attention, LayerAnalysis], rank: int | None = None
) -> Results:
    """Return a capture's results, still without pictures."""
    return Results(
        folder=paths.folder(capture),
        step=capture.step,
        timestamp=capture.timestamp,
        epoch=capture.epoch,
        loss=capture.loss,
        lr=capture.lr,
        grad_norm=capture.grad_norm,
        sample=capture.sample,
        seen_in=capture.seen_in,
        dump_reason=capture.dump_reason,
        rank=rank,
        layers=[
            _layer_result(attention, found, reads_ids=capture.decoder_reads_ids)
            for attention, found in analyses.items()
        ],
        scalars=tensorboard.scalars(capture, analyses),
    )


def _layer_result(attention: Attention, analysis: LayerAnalysis, *, reads_ids: bool) -> LayerResult:
    is_own = (attention.stack, attention.type) == ("decoder", "self_attention")
    return LayerResult(
        stack=attention.stack,
        layer=attention.layer,
        type=attention.type,
        statistics=analysis.statistics,
        shape=attention.shape,
        name=attention.name,
        source=attention.source,
        heads=attention.heads,
        note=attention.note,
        error=attention.error,
        predicts=is_own and reads_ids,
    )


def draw_capture(
    capture: Capture,
    options: RenderOptions,
    analyses: Analyses,
    results: Results,
    folder: Path,
    pixels: Pixels | None = None,
) -> list[str]:
    """Write a capture's pictures, add their cards to its results, and return the errors.

    `pixels`: the sample's image, where it was sent.

    A packed step takes the statistics too: the recorder, which otherwise writes them, comes only
    when the file is complete.
    """
    output = step_folder.step_output(folder, options.pack)
    errors = []
    for figure in plan_figures(capture, options, analyses, pixels):
        try:
            page = write_figure(figure, output, options.image_format)
            if options.tensorboard:
                results.images.append(tensorboard_card(figure, page))
        except Exception as error:
            errors.append(f"{figure.name}: {describe_error(error)}")
    try:
        if options.pack and options.statistics_files:
            statistics_json.write_statistics(output, statistics_json.StatisticsText(results))
        output.finish()
    except OSError as error:
        errors.append(describe_error(error))
    return errors


def describe_error(error: Exception) -> str:
    """Return the type, message and place of an error in one line."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(where.filename).name}:{where.lineno}"
    return f"{type(error).__name__}: {error} ({place})"
