"""`rank.json`: which part of a split model a run is of. Both ends of the file stand here."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnmon.link.records.run_setup import ModelPlace, Setup
from attnmon_renderer.storage import atomic_files, regular_files
from attnmon_renderer.storage.json_fields import count, listed, parse, record, text
from attnmon_renderer.storage.records import MOST_SUMMARY_BYTES

NAME = "rank.json"
FORMAT = "attnmon-rank 1"
_FOLDER = re.compile(r"rank_\d{5,}")
_PLACE = listed(count, 2)
_RANK = record(
    {"format": text, "rank": count, "world_size": count,
     "coordinates": record({"pp": _PLACE, "tp": _PLACE}, {})},
    {},
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelRank:
    """One of the processes that hold a model together."""

    folder: Path
    """Its run's directory."""
    rank: int
    place: ModelPlace

    @property
    def key(self) -> tuple[int, int]:
        """Its pipeline stage and its tensor rank."""
        return self.place.pipeline[0], self.place.tensor[0]

    def describe(self) -> str:
        """Return what it is called: "rank 3 (pipeline stage 1, tensor rank 1)"."""
        return f"rank {self.rank} ({describe_place(*self.key)})"


def describe_place(stage: int, tensor_rank: int) -> str:
    """Return a place in words."""
    return f"pipeline stage {stage}, tensor rank {tensor_rank}"


def write_rank(folder: Path, setup: Setup) -> None:
    """Write the file of a run that is watched with the others of its replica. Raises OSError."""
    if (place := setup.model_place) is None:
        return
    content: dict[str, Any] = {
        "format": FORMAT,
        "rank": setup.rank,
        "world_size": setup.world_size,
        "coordinates": {"pp": place.pipeline, "tp": place.tensor},
    }
    atomic_files.replace(folder / NAME, json.dumps(content, indent=2).encode() + b"\n")


def read_rank(folder: Path) -> ModelRank:
    """Return what the file says. Raises OSError, and ValueError if it is none."""
    content = _RANK(parse(regular_files.read(folder / NAME, MOST_SUMMARY_BYTES)))
    pipeline, tensor = (content["coordinates"][name] for name in ("pp", "tp"))
    if content["format"] != FORMAT or len(pipeline) != 2 or len(tensor) != 2:
        raise ValueError(f"{folder / NAME} is none of attnmon's")
    place = ModelPlace((pipeline[0], pipeline[1]), (tensor[0], tensor[1]))
    return ModelRank(folder, content["rank"], place)


def model_ranks(folder: Path) -> list[ModelRank]:
    """Return the processes of one model whose runs are below a directory, by their places."""
    found: dict[tuple[int, int], ModelRank] = {}
    for name in sorted(filter(_FOLDER.fullmatch, regular_files.folders_in(folder))):
        try:
            rank = read_rank(folder / name)
        except (OSError, ValueError):
            continue
        found.setdefault(rank.key, rank)
    return [found[key] for key in sorted(found)]
