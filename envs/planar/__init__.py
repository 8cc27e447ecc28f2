"""Planar tasks: a hand that pushes blocks over a table, seen from above."""
