"""One attention call: what it was given, in one form for every kernel."""
