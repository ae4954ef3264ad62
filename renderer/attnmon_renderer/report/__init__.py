"""`attnmon report` makes one HTML file of a run; it needs no other file and no network."""
