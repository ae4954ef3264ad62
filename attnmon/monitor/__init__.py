"""The monitors: what a training script constructs and calls."""

from attnmon.monitor.attention_monitor import AttentionMonitor
from attnmon.monitor.lightweight_monitor import LightweightAttentionMonitor
from attnmon.monitor.training_monitor import TrainingAttentionMonitor

__all__ = ["AttentionMonitor", "LightweightAttentionMonitor", "TrainingAttentionMonitor"]
