"""One attention call, in the same form for every kernel."""
