"""The five verdicts, and no others. None says which run is better: attention does not tell."""

from typing import NamedTuple

IDENTICAL = "identical"
WITHIN = "within the run's own wobble"
DIFFERS = "differs in these two runs"
GROUPS_DIFFER = "differs between the groups"
NOT_COMPARABLE = "not comparable"


class VerdictWords(NamedTuple):
    """What a verdict means, and how it looks."""

    tone: str
    meaning: str


WORDS = {
    IDENTICAL: VerdictWords("same", "Nothing was found that differs, to the last bit."),
    WITHIN: VerdictWords(
        "same", "The difference is no larger than what the same thing does by itself."
    ),
    DIFFERS: VerdictWords(
        "other",
        "These two differ by more than either does by itself. Another seed may do that, too: only "
        "groups of runs tell what a setting does.",
    ),
    GROUPS_DIFFER: VerdictWords(
        "other", "Runs of different groups differ by more than runs of one group do."
    ),
    NOT_COMPARABLE: VerdictWords(
        "none", "What follows is shown for itself; its differences say nothing."
    ),
}
