"""A query as the page shows it: its clips, curves and clouds by address."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from robopref.labeling.clip_plan import ItemView
from robopref.labeling.clip_service import ClipService
from robopref.labeling.clips import ClipQuery
from robopref.labeling.config import Criterion
from robopref.labeling.kinds import kind_of
from robopref.labeling.worker import ClipError
from robopref.preferences.query import Query
from robopref.preferences.rating import RatingQuery


class Presenter:
    """Puts queries into the form of the HTTP interface.

    Args:
        clips: Shows them.
        criteria: By what is judged, by name.
    """

    def __init__(self, clips: ClipService, criteria: Mapping[str, Criterion]) -> None:
        self.clips = clips
        self.criteria = criteria

    def describe(
        self, query: Query | RatingQuery, criterion: str, *, prefetch: bool = True
    ) -> dict[str, Any]:
        """Return a query as the page shows it; its clips are asked for, unless that is left out.

        Raises:
            ClipError: It cannot be shown.
        """
        views = self.clips.describe(query)
        if prefetch:
            self._prefetch(query, views, urgent=True)
        kind, judged_by = kind_of(query), self.criteria.get(criterion) or Criterion.parse(criterion)
        is_rating = kind == "rating"
        return {
            "id": query.id,
            "kind": kind,
            "criterion": criterion,
            "question": judged_by.clip_question if is_rating else judged_by.question,
            "verdicts": list(judged_by.verdicts) if is_rating else None,
            "why": query.reason,
            "items": [self._item(query, view) for view in views],
            "order": list(range(len(views))),
            "observation": self._observation(query, kind),
        }

    def look_ahead(self, query: Query | RatingQuery) -> dict[str, Any] | None:
        """Return where the clips of a query to come are, and have them drawn; None for none."""
        try:
            self._prefetch(query, self.clips.describe(query), urgent=False)
            return self.find_clips(query)
        except ClipError:
            return None  # It is blocked when its turn comes.

    def find_clips(self, query: Query | RatingQuery) -> dict[str, Any]:
        """Return where the clips of a query are.

        Raises:
            ClipError: It cannot be shown.
        """
        items = [self._item(query, view) for view in self.clips.describe(query)]
        return {"query_id": query.id, "clips": [item["clips"] for item in items]}

    def _prefetch(self, query: ClipQuery, views: Sequence[ItemView], *, urgent: bool) -> None:
        """Have the usual camera's clips drawn."""
        for view in views:
            for camera in view.cameras[:1]:
                self.clips.request(query, view.index, camera, urgent=urgent)

    def _item(self, query: ClipQuery, view: ItemView) -> dict[str, Any]:
        name = quote(query.id, safe="")
        suffix = self.clips.codec.suffix
        return {
            "index": view.index,
            "kind": view.kind,
            "num_frames": view.num_frames,
            "num_moving": view.num_moving,
            "num_steps": view.num_steps,
            "stride": view.stride,
            "fps": view.fps,
            "cameras": list(view.cameras),
            "clips": {
                camera: f"/api/clips/{name}/{view.index}/{quote(camera, safe='')}{suffix}"
                for camera in view.cameras
            },
            "lanes": f"/api/lanes/{name}/{view.index}" if view.kind == "segment" else None,
            "label": f"Clip {chr(ord('A') + view.index)}",
        }

    def _observation(self, query: ClipQuery, kind: str) -> Mapping[str, Any] | None:
        if kind != "candidates":
            return None
        meta = self.clips.cloud(query).meta()
        return {"cloud": f"/api/clouds/{quote(query.id, safe='')}", **meta}
