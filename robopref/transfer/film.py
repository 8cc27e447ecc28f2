"""Short clips of segments for a report, all of one size and about one length.

Shapes: N pictures of a clip, H height, W width.
"""

import numpy as np
from jaxtyping import UInt8

from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.labeling.clips import Pictures


class Film:
    """Pictures of a data set's segments, drawn from simulator states or read from a camera.

    Args:
        episodes: The data set.
        size: Height and width of a picture [pixels]; even.
        num_frames: Most pictures of a segment, which is thinned to them.
    """

    def __init__(self, episodes: EpisodeStore, *, size: int, num_frames: int) -> None:
        self._pictures = Pictures(episodes, width=size, height=size)
        self._size = size
        self._num_frames = num_frames

    def __enter__(self) -> "Film":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pictures.close()

    def frames(self, segment: Segment) -> UInt8[np.ndarray, "N H W 3"]:
        """Return the pictures of a segment.

        Raises:
            DataError: It has neither simulator states nor pictures of a camera.
            MissingExtraError: No OpenGL library works here.
        """
        camera, recorded = next(iter(self._pictures.cameras(segment).items()))
        num = min(self._num_frames, segment.length)
        steps = np.linspace(0, segment.length - 1, num).round().astype(int)
        chunks = self._pictures.chunks(segment, camera, recorded, steps)
        return np.stack([self._fitted(picture) for chunk in chunks for picture in chunk])

    def _fitted(self, picture: np.ndarray) -> np.ndarray:
        if picture.shape[:2] == (self._size, self._size):
            return picture
        from PIL import Image

        resized: np.ndarray = np.array(Image.fromarray(picture).resize((self._size, self._size)))
        return resized
