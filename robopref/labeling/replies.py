"""Bodies of the answers of the HTTP interface that hold more than a word.

Shares lie in [0, 1], and times are in seconds since 1970 (UTC), unless something else is said.
"""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

Point = list[float]


class Reply(BaseModel):
    """What all of them share: nothing but the fields that are known."""

    model_config: ClassVar[ConfigDict] = {"extra": "forbid"}


class CriterionOut(Reply):
    """By what is judged, and what is asked then."""

    name: str
    question: str


class Settings(Reply):
    """How the page behaves."""

    strength_default: int
    show_reward_lane: bool
    lease_s: float
    overlap: int
    codec: str


class Project(Reply):
    """What is asked here, and who is signed in."""

    title: str
    annotator: str | None
    needs_token: bool
    criteria: list[CriterionOut]
    tags: list[str]
    kinds: list[str]
    settings: Settings
    version: str


class ItemOut(Reply):
    """One of what a query compares.

    Its clip has `num_frames` pictures at `fps` a second; `num_moving` of them, one every `stride`
    steps, show its `num_steps`, and the last one is held.
    """

    index: int
    kind: Literal["segment", "candidate"]
    num_frames: int
    num_moving: int
    num_steps: int
    stride: int
    fps: float
    cameras: list[str]
    clips: dict[str, str]
    lanes: str | None
    label: str


class Primitive(Reply):
    """Where a candidate leads: a path, points on the way, and objects that it moves."""

    type: str
    points: list[Point]
    objects: dict[str, list[Point]]


class CandidateOut(Reply):
    """A candidate in space."""

    index: int
    primitive: Primitive
    action: list[Point]


class CloudMeta(Reply):
    """What there is to a point cloud beside the points; without `cloud` where that is known."""

    cloud: str | None = None
    num_points: int
    source: str
    bounds: list[Point]
    placeable: bool
    candidates: list[CandidateOut]


class QueryShown(Reply):
    """A query as the page shows it; a single clip is one of its two verdicts, the better first."""

    id: str
    kind: str
    criterion: str
    question: str
    verdicts: list[str] | None
    why: str
    items: list[ItemOut]
    order: list[int]
    observation: CloudMeta | None


class LeaseOut(Reply):
    """For how long a query is somebody's."""

    id: str
    expires_s: float


class QueryAsked(QueryShown):
    """A query that somebody is to answer; `order` is that in which the items are shown."""

    role: Literal["ask", "attention"]
    lease: LeaseOut
    answered_by_others: int
    compares_policies: bool


class AheadOut(Reply):
    """Where the clips of a query are, by camera, such as of one to come."""

    query_id: str
    clips: list[dict[str, str]]


class Counts(Reply):
    """How many answers there are by a criterion, and how many queries are open."""

    answered_mine: int
    answered_all: int
    remaining: int


class Asked(Reply):
    """What to judge, what comes probably next, and how far the criterion is."""

    query: QueryAsked
    ahead: list[AheadOut]
    progress: Counts


class Nothing(Reply):
    """Why there is nothing to judge, and when to ask again [s]."""

    query: None
    reason: str
    retry_s: float


class OwnAnswer(Reply):
    """An answer or a rating of one's own."""

    id: str
    type: Literal["answer", "rating"]
    kind: str | None
    query_id: str
    criterion: str
    reason: str
    time_s: float
    response_time_s: float
    details: dict[str, Any]
    answer: str | None = None
    order: list[list[int]] | None = None
    strength: int | None = None
    rating: str | None = None
    mark_step: int | None = None


class Own(Reply):
    """One's own answers and ratings, newest first."""

    answers: list[OwnAnswer]


class ClipState(Reply):
    """How a clip stands: ready, pending, "failed: reason" or "stalled: reason"."""

    state: str


class LaneOut(Reply):
    """A curve under a clip, with a value for each picture that moves."""

    name: str
    unit: str
    values: list[float]
    hidden: bool


class Lanes(Reply):
    """The curves under a clip."""

    lanes: list[LaneOut]
