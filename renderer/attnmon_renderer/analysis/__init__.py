"""One layer of a capture: its softmax weights, statistics and pooled maps, tile by tile."""
