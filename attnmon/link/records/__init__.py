"""The inert records that messages consist of."""
