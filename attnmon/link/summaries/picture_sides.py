"""How large the maps are that each kind of picture shows, as in the renderer's `FIGURE_KINDS`.

The training process asks it, to know whether what a device makes of a layer suffices.
"""

PICTURE_SIDES = {
    "heatmap": 1024,
    "multi_head": 256,
    "layer_comparison": 256,
    "rollout": 1024,
    "alignment": 1024,
    "surface3d": 1024,
    "rollout_overlay": 1024,
    "animation": 256,
}
"""The most cells a side, by the name in `visualization_types`; of others no map is shown."""
SINGLE_ROWS = ("image_overlay", "rollout_overlay")
"""Pictures that show rows of queries, which are in no map."""
