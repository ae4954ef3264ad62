"""What the sums of a layer that was summarised on a device are, and in which order they lie."""

ROW_PARTS = (
    "counted", "attending", "comparing", "mass", "effective_keys", "first_token", "distance",
    "diagonal", "entropy", "future", "padding", "real_rows", "non_finite", "row_sum_error", "min",
    "max",
)  # fmt: skip
"""Of rows: how many count, may attend to a key, to two; sums over these; what real rows give to
padding, and how many these are; extremes."""
COLUMN_PARTS = ("squares", "visited")
"""Of weights: the squares of their differences to 1 / keys, and of how many that was taken."""
LOGIT_PARTS = ("lse", "logit")
"""Of the queries in a row of cells that count and may attend to a key: the largest log-sum-exp, and
the largest logit; minus infinity where there is none."""
KEY_PARTS = ("total", "squared", "largest", "others", "seen", "shares")
"""Of what each key receives in all: the sum, that of squares, the largest; then without a first key
that is a sink, and of keys that may be attended to: the sum, how many they are, and the sum of
their shares, as in the renderer's `KeyUsage`."""
SINK_SHARE = 0.3
"""Of a row, in the mean: a first key that gets more is a sink (Gu et al., arXiv 2410.10781)."""
AVERAGE_LEVELS, UNKNOWN_CODE, CLOSED_CODE = 253, 254, 255
"""A cell of the mean over heads is sent as round(253 · √(w / s)), s being the largest of its tile;
as 254 where it is not finite, as 255 where in no head any of its queries may attend to a key."""
