"""Rows of tensor ranks that are merged into one, by hand."""

from attnmon_renderer.model_ranks.record_merging import RecordMerging

ROW = {
    "layer": 0, "type": "self_attention", "shape": [2, 3, 3], "mean": 0.5, "std": 0.0, "min": 0.5,
    "max": 0.5, "heads": {"entropy": [1.0, 2.0]}, "head_indices": [0, 2],
}  # fmt: skip


def test_selected_heads_keep_numbers_of_their_own() -> None:
    record = {"metadata": {"step": 1}, "encoder": [ROW], "decoder": []}
    numbers = {(0, ("encoder", "self_attention"), 0): 0}
    merged = RecordMerging(2).merged({(0, 0): record, (0, 1): record}, numbers, {})
    row = merged["encoder"][0]
    assert row["head_indices"] == [0, 2, 3, 5]
    assert row["heads"] == {"entropy": [1.0, 2.0, 1.0, 2.0]}
