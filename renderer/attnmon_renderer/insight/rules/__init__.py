"""The rules: one file each, with what it sees, its formula, its source, and when it is wrong."""
