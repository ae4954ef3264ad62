"""The maps of a layer that was summed up on its device."""

import numpy as np
import numpy.typing as npt

from attnmon_renderer.analysis.arrays import Booleans, Floats
from attnmon_renderer.maps.map_collector import MapCollector
from attnmon_renderer.summaries.device_summary import DeviceSummary


class SummarisedMaps(MapCollector):
    """Maps for `maps.safetensors` that were sent, and are not made of tiles."""

    def __init__(self, summary: DeviceSummary) -> None:
        super().__init__(summary.layer, max(summary.grid.shape))
        self.grid = summary.grid
        self._summary = summary

    @property
    def values(self) -> Floats:
        """[heads, rows, columns] The weights of the cells."""
        return self._summary.cells

    @property
    def masked(self) -> Booleans:
        """[rows, columns] True where no query may attend to any key, and of padding."""
        return self._summary.masked

    @property
    def strongest(self) -> npt.NDArray[np.uint32]:
        """[heads, rows] The position of the key with the largest weight in each row of cells."""
        return self._summary.strongest.astype(np.uint32)
