"""Preferences carried from labelled tasks to another one: `robopref transfer`."""
