"""Writes `statistics.json`: a capture in numbers, as strict JSON. NaN and infinity become null."""

import json
import math
from collections.abc import Mapping
from typing import Any

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention
from attnmon_renderer.analysis.layer_analysis import LayerAnalysis
from attnmon_renderer.results import LayerResult, Results
from attnmon_renderer.storage import paths
from attnmon_renderer.storage.step_folder import StepOutput

_STACKS = ("encoder", "decoder")
LONGEST_NAME = 200
"""The most characters of a layer's name in a warning, which must fit a message."""
MOST_ROW_SUM_ERROR = 1e-2
"""The largest deviation of a row's sum from 1 that rounding to half precision explains."""


def document(results: Results) -> dict[str, Any]:
    """Return what `statistics.json` and a line of `history.jsonl` hold."""
    rows: dict[str, list[dict[str, Any]]] = {"encoder": [], "decoder": []}
    for layer in results.layers:
        rows[layer.stack].append(_row(layer))
    return {"metadata": _metadata(results), **rows}


class StatisticsText:
    """A capture's document as JSON, encoded once for the file and for the line of the history."""

    def __init__(self, results: Results) -> None:
        content = document(results)
        self.capture = content
        """The same, before it was put into text."""
        self._metadata = to_json(content["metadata"])
        self._rows = {stack: list(map(to_json, content[stack])) for stack in _STACKS}

    def line(self, error: str = "") -> str:
        """Return the document in one line, with what failed, if anything did."""
        rows = "".join(f', "{stack}": [{", ".join(self._rows[stack])}]' for stack in _STACKS)
        told = f', "error": {to_json(error)}' if error else ""
        return f'{{"metadata": {self._metadata}{rows}{told}}}\n'

    def file(self) -> str:
        """Return the document with a line for each layer."""
        rows = "".join(f',\n  "{stack}": {_in_lines(self._rows[stack])}' for stack in _STACKS)
        return f'{{\n  "metadata": {self._metadata}{rows}\n}}\n'


def _in_lines(rows: list[str]) -> str:
    return "[\n    " + ",\n    ".join(rows) + "\n  ]" if rows else "[]"


def notices(
    capture: Capture, analyses: Mapping[Attention, LayerAnalysis]
) -> tuple[tuple[str, str], ...]:
    """Return (kind, text) of what the user should be told about these numbers."""
    broken = [a for a, survey in analyses.items() if survey.statistics.non_finite]
    uneven = [a for a, survey in analyses.items() if not _is_a_softmax(a, survey)]
    found = []
    if broken:
        text = (
            f"attention is NaN or infinite at step {capture.step} in {_named(broken)}; it is "
            "marked in the pictures and null in the JSON. Look for a loss or a learning rate that "
            "is too high, or for rows that a mask leaves without any key."
        )
        found.append(("non_finite", text))
    if uneven:
        text = (
            f"rows of attention do not sum to 1 at step {capture.step} in {_named(uneven)}: give "
            "weights as they are after the softmax and before dropout."
        )
        found.append(("row sums", text))
    return tuple(found)


def _is_a_softmax(attention: Attention, survey: LayerAnalysis) -> bool:
    """Return whether rows sum to 1, less what a sink takes. Only recorded weights may not."""
    statistics = survey.statistics
    computed = attention.weights is None or attention.source != "recorded"
    return computed or statistics.non_finite > 0 or statistics.row_sum_error < MOST_ROW_SUM_ERROR


def _named(attentions: list[Attention]) -> str:
    first = f"{paths.layer_title(attentions[0])} ({attentions[0].name:.{LONGEST_NAME}})"
    return first if len(attentions) == 1 else f"{first} and {len(attentions) - 1} more"


def write_statistics(output: StepOutput, text: StatisticsText) -> None:
    """Write `statistics.json` beside the step's other files. Raises OSError."""
    output.put(paths.STATISTICS, text.file().encode())


def to_json(content: Any, indent: int | None = None) -> str:
    """Return strict JSON, without NaN and infinity, that can be encoded as UTF-8."""
    try:
        text = json.dumps(content, allow_nan=False, ensure_ascii=False, indent=indent)
    except ValueError:  # there is a NaN, which is rare, and to look for it takes as long again
        text = json.dumps(strict(content), allow_nan=False, ensure_ascii=False, indent=indent)
    # Lone surrogates, as in a path that is no UTF-8, in the spelling of JSON: \udcff
    return text.encode("utf-8", "backslashreplace").decode()


def _metadata(results: Results) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "step": results.step,
        "epoch": results.epoch,
        "loss": results.loss,
        "timestamp": results.timestamp,
        "lr": results.lr,
        "grad_norm": results.grad_norm,
        "sample": results.sample,
        "seen_in": results.seen_in,
    }
    if results.loss is not None and not math.isfinite(results.loss):
        metadata["loss_is_no_number"] = True
    if results.retained:
        metadata["kept_for"] = results.dump_reason
    if results.rank is not None:
        metadata["rank"] = results.rank
    return metadata


def _row(layer: LayerResult) -> dict[str, Any]:
    return {
        "layer": layer.layer,
        "type": layer.type,
        **vars(layer.statistics),
        "shape": layer.shape,
        "name": layer.name,
        "source": layer.source,
        "head_indices": layer.heads,
        "note": layer.note,
        "error": layer.error,
        "predicts": layer.predicts,
    }


def strict(value: Any) -> Any:
    """Returns the value with None for each float in it that is NaN or infinite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return value
