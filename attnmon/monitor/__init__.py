"""The monitors: what a training script constructs and calls."""

from attnmon.monitor.attention_monitor import (
    AttentionMonitor,
    LightweightAttentionMonitor,
    TrainingAttentionMonitor,
)

__all__ = ["AttentionMonitor", "LightweightAttentionMonitor", "TrainingAttentionMonitor"]
