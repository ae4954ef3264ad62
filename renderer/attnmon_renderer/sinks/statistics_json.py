"""`statistics.json`: a capture in numbers. Strict JSON: what is not a number becomes null."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from attnmon.link.messages import Attention, Capture, Setup
from attnmon_renderer.analysis.layer_analysis import LayerAnalysis
from attnmon_renderer.storage import paths
from attnmon_renderer.storage.step_folder import StepOutput

LONGEST_NAME = 200
"""Characters of a layer's name in a warning, which a message must hold."""
MOST_ROW_SUM_ERROR = 1e-2
"""Half precision rounds weights; more than this is no softmax."""


def document(
    capture: Capture, setup: Setup, analyses: Mapping[Attention, LayerAnalysis]
) -> dict[str, Any]:
    """What `statistics.json` and a line of `history.jsonl` hold."""
    rows: dict[str, list[dict[str, Any]]] = {"encoder": [], "decoder": []}
    for attention, survey in analyses.items():
        rows[attention.stack].append(_row(attention, survey))
    metadata = _metadata(capture)
    if setup.world_size > 1:
        metadata["rank"] = setup.rank
    return {"metadata": metadata, **rows}


def scalars(capture: Capture, analyses: Mapping[Attention, LayerAnalysis]) -> dict[str, float]:
    """TensorBoard's scalars of the layers, and of the monitor itself: tag → value."""
    layers = {
        paths.scalar_tag(attention, name): getattr(survey.statistics, name)
        for attention, survey in analyses.items()
        for name in ("mean", "std")
    } | {
        paths.scalar_tag(attention, name): value
        for attention, survey in analyses.items()
        for name, value in _of_all_heads(survey).items()
    }
    accounts = capture.accounts
    return layers | {
        "attnmon/overhead": accounts.overhead,
        "attnmon/dropped": accounts.dropped,
        "attnmon/backlog": accounts.backlog,
    }


def _of_all_heads(survey: LayerAnalysis) -> dict[str, float]:
    """Of the statistics of the heads, those that tell a training in trouble; what is a number."""
    heads = survey.statistics.heads
    entropies = [value for value in heads["entropy"] if math.isfinite(value)]
    logits = [value for value in heads["max_logit"] if math.isfinite(value)]
    mean = {"entropy": math.fsum(entropies) / len(entropies)} if entropies else {}
    return mean | ({"max_logit": max(logits)} if logits else {})


def notices(
    capture: Capture, analyses: Mapping[Attention, LayerAnalysis]
) -> tuple[tuple[str, str], ...]:
    """(kind, text): what the user should be told about these numbers."""
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
    """Only weights that were given can fail to be; with a sink they sum to less."""
    statistics = survey.statistics
    computed = attention.weights is None or attention.source != "recorded"
    return computed or statistics.non_finite > 0 or statistics.row_sum_error < MOST_ROW_SUM_ERROR


def _named(attentions: list[Attention]) -> str:
    first = f"{paths.title(attentions[0])} ({attentions[0].name:.{LONGEST_NAME}})"
    return first if len(attentions) == 1 else f"{first} and {len(attentions) - 1} more"


def write_statistics(place: StepOutput, content: dict[str, Any]) -> None:
    """Put a document where the step's other files are. Raises OSError."""
    place.put(paths.STATISTICS, (to_json(content, indent=2) + "\n").encode())


def to_json(content: Any, indent: int | None = None) -> str:
    text = json.dumps(strict(content), allow_nan=False, ensure_ascii=False, indent=indent)
    # Lone surrogates, as in a path that is no UTF-8, in the spelling of JSON: \udcff
    return text.encode("utf-8", "backslashreplace").decode()


def _metadata(capture: Capture) -> dict[str, Any]:
    reason = {"kept_for": capture.dump_reason} if capture.dump_reason else {}
    return {
        "step": capture.step,
        "epoch": capture.epoch,
        "loss": capture.loss,
        "timestamp": capture.timestamp,
        "lr": capture.lr,
        "sample": capture.sample,
        "seen_in": capture.seen_in,
        **reason,
    }


def _row(attention: Attention, survey: LayerAnalysis) -> dict[str, Any]:
    return {
        "layer": attention.layer,
        "type": attention.type,
        **strict(asdict(survey.statistics)),
        "shape": list(attention.shape),
        "name": attention.name,
        "source": attention.source,
        "head_indices": list(attention.heads),
        "note": attention.note,
        "error": attention.error,
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
