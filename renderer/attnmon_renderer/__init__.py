"""The renderer: draws what the training process announces. Never imports torch."""
