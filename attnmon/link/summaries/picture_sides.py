"""How large the maps are that each kind of picture shows, as in the renderer's `FIGURE_KINDS`.

The training process asks it, to know what a device is to make of a layer.
"""

AVERAGE_SIDES = {
    "heatmap": 1024,
    "layer_comparison": 256,
    "rollout": 1024,
    "alignment": 1024,
    "surface3d": 1024,
    "rollout_overlay": 1024,
    "animation": 256,
}
"""The most cells a side of the mean over heads, by the name in `visualization_types`."""
HEAD_SIDES = {"multi_head": 256}
"""The same of the map of each head."""
SINGLE_ROWS = ("image_overlay",)
"""Pictures that show the weights of single queries, or of all but the first."""
