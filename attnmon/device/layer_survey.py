"""Sums up a layer in the memory that a device has for it, some heads after the others."""

from collections.abc import Iterator

from torch import Tensor

from attnmon.device.average_launch import AverageMemory, divide, launch_average
from attnmon.device.kernel_builds import BUILDS
from attnmon.device.kernel_support import division
from attnmon.device.layer_tensors import LayerTensors
from attnmon.device.survey_grid import SurveyGrid
from attnmon.device.survey_launch import SurveyMemory, launch, of_heads


def survey_layer(
    layer: LayerTensors, grid: SurveyGrid, scratch: Tensor
) -> Iterator[tuple[int, SurveyMemory | AverageMemory]]:
    """Launch the kernels, and yield of how many heads there will be what: until the next is asked.

    Raises:
        NotBuilt: a kernel was not launched.
    """
    heads, divided = layer.shape[0], division(layer, grid)
    for first in range(0, heads, divided.averaged):
        block = of_heads(layer, first, min(first + divided.averaged, heads))
        lse, rest = divided.parts(scratch, grid, block.shape[0])
        for start in range(0, len(lse), divided.at_once):
            end = min(start + divided.at_once, len(lse))
            some = of_heads(block, start, end)
            memory = SurveyMemory.on(rest, grid, lse[start:end], len(some.key))
            launch(some, grid, memory)
            if grid.average is not None and BUILDS.is_incomplete:  # ask for all kernels at once
                launch_average(block, grid.average, lse, next(divide(rest, grid.average)))
            BUILDS.require()
            yield end - start, memory
        if grid.average is not None:
            for part in divide(rest, grid.average):
                launch_average(block, grid.average, lse, part)
                BUILDS.require()
                yield len(lse), part
