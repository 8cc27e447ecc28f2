"""Episodes, segments, and how they are kept on disk. Imports no torch."""

from robopref.data.episode import Episode
from robopref.data.segment import Segment

__all__ = ["Episode", "Segment"]
