"""From the arrays of a layer to its softmax weights, statistics and pooled maps."""
