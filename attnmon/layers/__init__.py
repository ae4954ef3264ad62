"""The layers a model has, and which of them are captured."""
