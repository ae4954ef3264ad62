"""What a layer is summed up to on a device, for both processes."""
