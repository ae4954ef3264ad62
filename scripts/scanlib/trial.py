"""Tries one architecture: builds it, asks the oracles, captures it in both places, trains it."""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scanlib.architecture import Architecture, Built
from scanlib.captures import captured
from scanlib.judging import Verdict, verdict
from scanlib.trainings import Undecided, differences, trained
from scanlib.truth import Truth, truth

PLACES = ("forward", "probe")
BUILD = "build"
ALONE = "training without a monitor"
TRAINING = "training"


@dataclass(frozen=True)
class Trial:
    """Where a trial writes, the renderer it shares, and whom it tells what it is at."""

    folder: Path
    renderer: Path
    tell: Callable[[str], None]


def tried(architecture: Architecture, trial: Trial) -> dict[str, Any]:
    """Returns the result as it is stored: a verdict for each place, and what training changed."""
    trial.tell(BUILD)
    try:
        built = architecture.build()
        oracles = truth(built)
    except Exception as error:
        return {"built": False, "why": f"{type(error).__name__}: {error}"[:300]}
    result: dict[str, Any] = {
        "built": True, "class": type(built.model).__name__, "attending": len(oracles.attending),
        "softmaxes": len(oracles.alone), "independent": oracles.independent,
        "distinct": oracles.distinct,
    }  # fmt: skip
    for place in PLACES:
        trial.tell(place)
        result[place] = asdict(_judged(built, oracles, place, trial))
    return result | _trained(built, trial)


def _judged(built: Built, oracles: Truth, place: str, trial: Trial) -> Verdict:
    capture = captured(built.model, built.inputs, place, trial.folder / place, trial.renderer)
    found = verdict(capture, oracles)
    said = [message for message in capture.messages if message not in found.doubts]
    found.doubts += [f"said: {message}"[:300] for message in said[:3]]
    return found


def _trained(built: Built, trial: Trial) -> dict[str, Any]:
    model, inputs = built.model, built.inputs
    try:
        trial.tell(ALONE)
        alone = trained(copy.deepcopy(model), inputs, None)
        trial.tell(TRAINING)
        changed = differences(model, inputs, alone, trial.folder / TRAINING, trial.renderer)
    except Undecided as reason:
        return {"changed": [], "untrained": str(reason)}
    except Exception as error:  # the model cannot be trained here
        return {"changed": [], "untrained": f"{type(error).__name__}: {error}"[:200]}
    return {"changed": changed[:10]}
