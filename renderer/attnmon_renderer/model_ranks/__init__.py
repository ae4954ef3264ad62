"""Shows a model that is split over processes as one, from what each wrote; waits for none."""
