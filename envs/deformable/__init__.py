"""Deformable things on a table, moved by action primitives: a rope, granules, a T-shirt."""
