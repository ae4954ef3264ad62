"""The backends: from a page to the bytes of a PNG, APNG, SVG or PDF."""
