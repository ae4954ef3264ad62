"""The standalone renderer, which serves several training processes."""
