"""The five verdicts, and no others. None says which run is better: attention does not tell."""

IDENTICAL = "identical"
WITHIN = "within the run's own wobble"
DIFFERS = "differs in these two runs"
GROUPS_DIFFER = "differs between the groups"
NOT_COMPARABLE = "not comparable"
