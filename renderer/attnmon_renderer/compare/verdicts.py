"""The five verdicts, and no others. None says which run is better: attention does not tell."""

IDENTICAL = "identical"
WITHIN = "within the run's own wobble"
DIFFERS = "differs in these two runs"
GROUPS_DIFFER = "differs between the groups"
NOT_COMPARABLE = "not comparable"


MEANINGS = {
    IDENTICAL: "Nothing was found that differs, to the last bit.",
    WITHIN: "The difference is no larger than what the same thing does by itself.",
    DIFFERS: "These two differ by more than either does by itself. Another seed may do that, too: "
    "only groups of runs tell what a setting does.",
    GROUPS_DIFFER: "Runs of different groups differ by more than runs of one group do.",
    NOT_COMPARABLE: "What follows is shown for itself; its differences say nothing.",
}
