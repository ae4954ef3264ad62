"""Pictures that span the captures of a run: the recorder's, since they grow in order."""

from pathlib import Path
from typing import Any

import numpy as np

from attnmon_renderer.results import AnimationFrame, Results
from attnmon_renderer.sinks.history import read_history
from attnmon_renderer.storage import atomic_files


class Animations:
    """One file a layer, a frame a capture: `animations/decoder_layer0_cross_attn.png` (APNG)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, results: Results) -> None:
        """Add this capture's frames. Raises OSError.

        What was kept is older than the last frame, and would have the film jump back.
        """
        if "kept_for" in results.document["metadata"]:
            return
        for frame in results.frames:
            self._extend(self._folder / f"{frame.stem}.png", frame)

    def _extend(self, path: Path, frame: AnimationFrame) -> None:
        from attnmon_renderer import drawing

        before = path.read_bytes() if path.exists() else b""
        page = drawing.heatmap(frame.heatmap())
        atomic_files.replace(path, drawing.append_frame(before, page).data)


class Timeline:
    """`timeline.png`: entropy of all heads over the steps, layer by layer, the loss beneath."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "timeline.png"
        self._documents = [slim(line) for line in read_history(folder / "history.jsonl")]

    def write(self, results: Results) -> None:
        """Draw it again with this capture. Raises OSError."""
        from attnmon_renderer import drawing

        self._documents.append(slim(results.document))
        atomic_files.replace(
            self._path, drawing.render_png(drawing.timeline(_picture(self._documents))).data
        )


def timeline_picture(documents: list[dict[str, Any]]) -> Any:
    """The timeline of these lines of the history; at least one."""
    return _picture([slim(document) for document in documents])


def slim(document: dict[str, Any]) -> dict[str, Any]:
    """Of a line of the history, what a timeline needs: step, loss, entropies by layer's name."""
    layers = {
        f"{stack} {row['layer']} {row['type'].partition('_')[0]}": row["heads"]["entropy"]
        for stack in ("encoder", "decoder")
        for row in document[stack]
    }
    metadata = document["metadata"]
    return {"step": metadata["step"], "loss": metadata["loss"], "layers": layers}


def _picture(documents: list[dict[str, Any]]) -> Any:
    from attnmon_renderer.drawing import Caption, TimelineData
    from attnmon_renderer.figures.figure_plan import ENTROPY

    ordered = list({entry["step"]: entry for entry in documents}.values())
    ordered.sort(key=lambda entry: entry["step"])
    names = list(dict.fromkeys(name for entry in ordered for name in entry["layers"]))
    last = ordered[-1]
    run = f"{len(ordered)} captures to step {last['step']:,}"
    return TimelineData(
        caption=Caption("attention entropy over the training", run),
        statistic=ENTROPY,
        steps=[entry["step"] for entry in ordered],
        layers=tuple((name, _numbers(name, ordered)) for name in names),
        losses=[entry["loss"] for entry in ordered],
        low=0.0,
        high=1.0,
    )


def _numbers(name: str, documents: list[dict[str, Any]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[captures, heads]; NaN where there is no number."""
    heads = max(len(entry["layers"].get(name, ())) for entry in documents)
    numbers = np.full((len(documents), heads), np.nan)
    for row, entry in zip(numbers, documents, strict=True):
        given = entry["layers"].get(name, ())
        row[: len(given)] = [np.nan if value is None else value for value in given]
    return numbers
