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
from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.run_setup import RenderOptions, Setup
from attnmon.link.records.sample_image import SampleImage
from attnmon.link.records.training_accounts import LONGEST_ERROR
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
from attnmon_renderer.maps.map_collector import MapCollector
from attnmon_renderer.maps.maps_writer import CaptureMaps
from attnmon_renderer.process_messages import Drawn
from attnmon_renderer.results import LayerResult, Results, write_to_descriptor
from attnmon_renderer.sinks import raw_weights, statistics_json, tensorboard
from attnmon_renderer.storage import atomic_files, paths, regular_files, step_folder
from attnmon_renderer.summaries.device_comparison import difference
from attnmon_renderer.summaries.device_summary import DeviceSummary
from attnmon_renderer.summaries.summarised_maps import SummarisedMaps


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
    maps = CaptureMaps(layers, options)
    found = analyze_all(layers, options, maps, capture.image)
    analyses = with_patch_rows(found, layers, capture.image)
    drawn = {attention: found for attention, found in analyses.items() if attention.drawn}
    pixels = None if capture.image is None else read_array(capture.image.pixels, ring)
    results = collect_results(capture, analyses, setup.rank if setup.world_size > 1 else None)
    errors = draw_capture(capture, options, drawn, results, folder, pixels, maps)
    results.frames.extend(animation_frames(capture, options, drawn))
    if options.raw_weights and drawn:
        try:
            chosen = {attention: layers[attention] for attention in drawn}
            raw_weights.write_raw(folder, capture, chosen, pixels)
        except Exception as error:
            errors.append(f"{raw_weights.NAME}: {describe_error(error)}")
    notices = statistics_json.notices(capture, analyses)
    notices += missing_figure_notices(options, capture, drawn, pixels)
    try:
        notices += missing_font_notices(options, capture)
    except Exception as error:
        errors.append(f"fonts: {describe_error(error)}")
    told = process_messages.join_errors(errors)
    return Drawn(capture.sequence, told, notices, verdicts=_verdicts(layers)), results


def analyze_all(
    layers: Mapping[Attention, LayerAttention],
    options: RenderOptions,
    maps: CaptureMaps,
    image: SampleImage | None = None,
) -> dict[Attention, LayerAnalysis]:
    """Analyze all layers, together where no map of them is needed."""
    needs_maps = map_sizes(options) != NO_MAPS
    found = _analyze_summarised(layers, options, maps, image)
    for attention, layer in layers.items():
        if attention in found:
            continue
        if attention in maps or (needs_maps and attention.drawn):
            collector = maps.collector(attention)
            found[attention] = analyze(layer, options, collector)
            if collector is not None:
                maps.add(attention, collector)
    others = {each: layer for each, layer in layers.items() if each not in found}
    together = layer_statistics(list(others.values()), options.statistics_queries or "all")
    for attention, statistics in zip(others, together, strict=True):
        found[attention] = LayerAnalysis(statistics, None, None)
    return {attention: found[attention] for attention in layers}


def _analyze_summarised(
    layers: Mapping[Attention, LayerAttention],
    options: RenderOptions,
    maps: CaptureMaps,
    image: SampleImage | None,
) -> dict[Attention, LayerAnalysis]:
    """Return the analyses of layers that were summed up on their device; keep their maps."""
    found = {}
    for attention, layer in layers.items():
        if attention.is_summarised:
            summary = DeviceSummary(layer, layer.memory)
            sizes = map_sizes(options) if attention.drawn else NO_MAPS
            analysis = summary.analysis(sizes.average_side, sizes.head_side)
            patches = None if image is None else image.patches_of(attention)
            rows = None if patches is None else summary.patch_rows(patches)
            found[attention] = replace(analysis, patch_rows=rows)
            if attention in maps:
                maps.add(attention, SummarisedMaps(summary))
    return found


def _verdicts(layers: Mapping[Attention, LayerAttention]) -> tuple[tuple[str, str], ...]:
    """Compare layers that were summed up on their device and are made here of query and key."""
    found = []
    for attention, layer in layers.items():
        if attention.summary is not None and not attention.is_summarised:
            try:
                told = difference(layer, layer.memory)
            except Exception as error:
                told = f"summary: {describe_error(error)}"
            if told is not None:
                found.append((attention.summary.kernel, told[:LONGEST_ERROR]))
    return tuple(found)


def analyze(
    layer: LayerAttention, options: RenderOptions, collector: MapCollector | None = None
) -> LayerAnalysis:
    """Analyze one layer, with maps as large as the pictures need, and those to be stored."""
    sizes = map_sizes(options) if layer.attention.drawn else NO_MAPS
    return analyze_layer(
        layer,
        average_side=sizes.average_side,
        head_side=sizes.head_side,
        pooling=options.pooling,
        statistics_queries=options.statistics_queries or "all",
        collector=collector,
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
    maps: CaptureMaps | None = None,
) -> list[str]:
    """Write a capture's pictures and maps, add cards to its results, and return the errors.

    `pixels`: the sample's image, where it was sent; `maps`: those to be stored.

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
    if maps is not None:
        try:
            maps.write(output, capture)
        except Exception as error:
            errors.append(f"{paths.MAPS}: {describe_error(error)}")
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
