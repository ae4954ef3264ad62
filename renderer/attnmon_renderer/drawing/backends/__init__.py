"""From a page to a file: PNG, APNG, SVG, PDF."""
