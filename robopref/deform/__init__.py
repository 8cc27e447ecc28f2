"""DeformPAM's loop: candidate primitives on point clouds, ranked, and chosen among.

Source: Chen et al., DeformPAM: Data-efficient learning for long-horizon deformable object
manipulation via preference-based action alignment, 2024, arXiv:2410.11584.
"""
