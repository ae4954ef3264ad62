"""What both processes take for "this key is masked" where a mask is added to the logits."""

MASKED_BIAS = -9e3
"""A bias at or below this forbids the key.

Models that know no bool masks add -inf, the least number of a dtype (-65504 in float16), -1e9 or
-1e4. bfloat16 rounds -1e4 to -9984, so that -1e4 itself would miss it. Position biases such as
ALiBi's stay far above.
"""
