"""A comparison as one HTML file, which opens without network."""
