"""Policies on arms: looked at before they move, watched by an operator, recorded."""
