"""Callbacks for the trainers of other frameworks. Only the module of a framework imports it."""
