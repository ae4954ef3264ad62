"""What a scan found, in lines for a terminal."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNBUILT, HUNG, CHANGED = "could not be built", "hung", "changed"


def word(result: Mapping[str, Any]) -> str:
    """Returns the verdict on an architecture: that of its own forward, unless there is worse."""
    if not result["built"]:
        return UNBUILT
    if "hung" in result:
        return HUNG
    if result["changed"]:
        return CHANGED
    words = [result[place]["word"] for place in ("forward", "probe")]
    return "wrong" if "wrong" in words else str(words[0])


def why(result: Mapping[str, Any]) -> str:
    """Returns the reason of the verdict, in one line; empty where it is right."""
    found = word(result)
    if found == UNBUILT:
        return str(result["why"])
    if found == HUNG:
        return str(result["hung"])
    if found == CHANGED:
        return ", ".join(result["changed"][:3])
    place = next((p for p in ("forward", "probe") if result[p]["word"] == found), "forward")
    reason = str(result[place]["why"])
    return f"{'' if place == 'forward' else 'extra forward: '}{reason}" if reason else ""


def line(name: str, result: Mapping[str, Any], seconds: float) -> str:
    """Returns a line for a terminal."""
    extra = result.get("probe", {}).get("word", "")
    return f"{seconds:5.1f} s  {name:44} {word(result):18} {extra:14} {why(result)}"[:240].replace(
        "\n", " "
    )


@dataclass(frozen=True)
class Counts:
    """How many architectures got which verdict."""

    tried: int
    unbuilt: int
    scanned: int
    attending: int
    """Those with token attention, of which the words are counted."""
    words: Counter[str]
    probed: Counter[str]
    """Verdicts on the extra forward."""
    changed: int
    hung: int

    @property
    def share(self) -> float:
        """Of those with token attention, how many are right."""
        return self.words["right"] / max(1, self.attending)


def counts(results: Mapping[str, Mapping[str, Any]]) -> Counts:
    """Counts the verdicts; one that hung is counted as attending."""
    built = [each for each in results.values() if each["built"]]
    attending = [each for each in built if each.get("attending", 1)]
    return Counts(
        tried=len(results),
        unbuilt=len(results) - len(built),
        scanned=len(built),
        attending=len(attending),
        words=Counter(word(each) for each in attending),
        probed=Counter(each["probe"]["word"] for each in attending if "probe" in each),
        changed=sum(bool(each.get("changed")) for each in built),
        hung=sum("hung" in each for each in built),
    )


def summary(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the counts, and the share that is right among those with token attention."""
    found = counts(results)
    return (
        f"{found.tried} tried, {found.scanned} scanned, {found.attending} with token attention: "
        f"{found.share:.1%} right\n"
        f"verdicts: {dict(found.words)}\nextra forward: {dict(found.probed)}\n"
        f"changed {found.changed}, hung {found.hung}"
    )
