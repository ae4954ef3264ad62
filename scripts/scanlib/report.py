"""What a scan found, in lines for a terminal."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

UNBUILT, HUNG, CHANGED = "could not be built", "hung", "changed"
WORST_FIRST = ("wrong", "not seen", "refused", "unjudged", "right", "nothing to see")


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


def summary(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the counts, and the share that is right among those with token attention."""
    built = {name: each for name, each in results.items() if each["built"]}
    attending = {n: each for n, each in built.items() if each.get("attending", 1)}
    words = Counter(word(each) for each in attending.values())
    probed = Counter(each["probe"]["word"] for each in attending.values() if "probe" in each)
    share = words["right"] / max(1, len(attending))
    return (
        f"{len(results)} tried, {len(built)} scanned, {len(attending)} with token attention: "
        f"{share:.1%} right\n"
        f"verdicts: {dict(words)}\nextra forward: {dict(probed)}\n"
        f"changed {sum(bool(each.get('changed')) for each in built.values())}, "
        f"hung {sum('hung' in each for each in built.values())}"
    )
