"""From captured tensors to arrays in the ring and the message that describes them."""
