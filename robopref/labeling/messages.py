"""Bodies of requests of the HTTP interface, checked before anything looks at them, and receipts."""

from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from robopref.preferences.names import MAX_NAME, check_name_text


def _check_text(text: str) -> str:
    """Refuse what a database cannot keep: half characters and NUL."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("text must be Unicode without half characters") from error
    if "\0" in text:
        raise ValueError("text must not hold the character NUL")
    return text


def _check_name(name: str) -> str:
    check_name_text("name", name)
    return name


Text = Annotated[str, Field(max_length=4000), AfterValidator(_check_text)]
Key = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_check_text)]
Tag = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_check_text)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_check_name)]
Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Index = Annotated[int, Field(ge=0, le=10_000)]
Real = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
Group = Annotated[list[Index], Field(max_length=100)]
Kind = Literal["pair", "ranking", "candidates", "rating"]
MAX_ITEMS = 9
"""Items of a query: as many as there are digits to answer with."""


class Message(BaseModel):
    """What all bodies share: nothing but the fields that are known."""

    model_config: ClassVar[ConfigDict] = {"extra": "forbid"}


class ErrorBody(Message):
    """Why a request failed."""

    code: str
    message: str


class Failure(Message):
    """The answer to a request that failed."""

    error: ErrorBody


class SignIn(Message):
    """Who somebody is."""

    annotator: Name
    token: Annotated[str, Field(max_length=400)] | None = None


class NextIn(Message):
    """What somebody is to be asked next."""

    criterion: Key | None = None
    kinds: Annotated[list[Kind], Field(max_length=4)] = []


class Judged(Message):
    """What answers and ratings share."""

    id: UUID
    query: Key
    criterion: Key
    tags: Annotated[list[Tag], Field(max_length=20)] = []
    note: Text = ""
    response_time_s: Seconds = 0.0


class AnswerIn(Judged):
    """An answer: groups of items, best first, or one of two ways not to order."""

    answer: Literal["ranked", "incomparable", "skipped"]
    order: Annotated[list[Group], Field(max_length=100)] = []
    strength: Annotated[int, Field(ge=1, le=3)] = 2
    shown: Group = []
    all_bad: bool = False
    proposed: Annotated[
        list[Annotated[list[Real], Field(max_length=64)]], Field(max_length=256)
    ] | None = None  # fmt: skip


class RatingIn(Judged):
    """A judgement of one clip."""

    rating: Literal["good", "bad", "success", "failure", "cannot tell", "skipped"]
    mark_step: Annotated[int, Field(ge=0, le=10_000_000)] | None = None


class AdjudicationIn(Message):
    """How a disagreement is decided."""

    id: UUID
    query: Key
    criterion: Key
    answer: Literal["ranked", "incomparable"]
    order: Annotated[list[Group], Field(max_length=100)] = []
    note: Text = ""
    gold: bool = False


class RatingDecisionIn(Message):
    """How a disagreement about one clip is decided."""

    id: UUID
    query: Key
    criterion: Key
    rating: Literal["good", "bad", "success", "failure", "cannot tell"]
    mark_step: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    note: Text = ""


class SegmentIn(Message):
    """Some steps of an episode."""

    episode_id: Key
    start: Annotated[int, Field(ge=0, le=2**31 - 1)]
    length: Annotated[int, Field(ge=1, le=2**31 - 1)]


class CandidateIn(Message):
    """An action chunk proposed for a step of an episode."""

    episode_id: Key
    step: Annotated[int, Field(ge=0, le=2**31 - 1)]
    action: Annotated[
        list[Annotated[list[Real], Field(min_length=1, max_length=64)]],
        Field(min_length=1, max_length=256),
    ]


class ExpectedIn(Message):
    """The answer to a query, where it is known."""

    answer: Literal["ranked", "incomparable"] = "ranked"
    order: Annotated[list[Group], Field(max_length=100)] = []


class QueryIn(Message):
    """A query to be asked: several items to compare, or one segment to rate."""

    id: UUID | None = None
    items: (
        Annotated[list[SegmentIn], Field(min_length=1, max_length=MAX_ITEMS)]
        | Annotated[list[CandidateIn], Field(min_length=1, max_length=MAX_ITEMS)]
    )
    reason: Text = ""
    priority: Real = 0.0
    gold: ExpectedIn | None = None


class QueriesIn(Message):
    """Queries to be asked."""

    queries: Annotated[list[QueryIn], Field(min_length=1, max_length=1000)]


class ComparisonIn(Message):
    """Which policies to compare, and how often; sent again with its id, it adds nothing."""

    id: UUID | None = None
    num: Annotated[int, Field(ge=1, le=1000)] = 20
    policies: Annotated[list[Key], Field(max_length=20)] = []


class Undone(Message):
    """Whether something was taken back."""

    undone: Literal[True] = True


class Unblocked(Message):
    """Whether a query could not be shown before, and is asked again."""

    unblocked: bool


class Added(Message):
    """What was added."""

    ids: list[str]


class Imported(Message):
    """How many answers were new."""

    new: int


class Signed(Message):
    """Who is signed in."""

    annotator: str | None


class Stored(Message):
    """What became of an answer."""

    stored: Literal[True] = True
    new: bool


class Renewed(Message):
    """Until when a lease lasts."""

    expires_s: float


class Released(Message):
    """Whether a lease was there to be given back."""

    released: bool


Plain = dict[str, Any]
"""An answer before it takes the form of its model in `replies`."""
