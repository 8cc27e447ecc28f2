"""What the server replies about progress, disagreements and policies: for their pages."""

from typing import Literal

from robopref.labeling.replies import QueryShown, Reply


class Share(Reply):
    """A share of `num`, with its 95 % interval (Wilson)."""

    value: float | None
    low: float
    high: float
    num: int


class Position(Share):
    """How often the clip that was shown first is preferred.

    `p_value` is how likely chance is to give a share at least as far from half (exact binomial
    test); None where there is no answer.
    """

    p_value: float | None


class AnnotatorOut(Reply):
    """How somebody answers."""

    name: str
    answers: int
    skips: int
    seconds_median: float | None
    first_shown_share: Position
    consistency: float | None
    reliability_votes: float | None
    reliability_scores: float | None
    gold: Share | None
    attention: Share | None


class Kappa(Reply):
    """Cohen's kappa of two annotators."""

    a: str
    b: str
    kappa: float | None


class AgreementOut(Reply):
    """Krippendorff's alpha of all, Cohen's kappa of each two, of the last `answers`."""

    alpha: float | None
    kappa: list[Kappa]
    answers: int


class Day(Reply):
    """Labels of a day."""

    day: str
    labels: int


class Fitted(Reply):
    """A reward that was fitted, and its accuracy on pairs held out."""

    time_s: float
    labels: int
    accuracy: float | None
    low: float
    high: float
    value_of_ten: float | None
    seconds: float
    strategy: str
    reward: str
    last_seq: int
    revised: tuple[int, ...] = ()


class CriterionProgress(Reply):
    """How far the labelling by a criterion is."""

    criterion: str
    labels: int
    answers: int
    annotators: list[AnnotatorOut]
    agreement: AgreementOut
    rating_agreement: AgreementOut
    rating_disagreements: int
    position: Position
    per_day: list[Day]
    remaining: int
    history: list[Fitted]
    value_of_ten: float | None
    value_method: str
    disagreements: int


class RatingsOut(Reply):
    """How often somebody gave a rating."""

    criterion: str
    annotator: str
    rating: str
    num: int


class Given(Reply):
    """What somebody said of a clip, and at which of its steps it went wrong."""

    annotator: str
    rating: str
    mark_step: int | None
    reason: str
    tags: list[str]
    time_s: float


class Contradiction(Reply):
    """A clip that was rated differently, or marked far apart, and is not decided."""

    query_id: str
    criterion: str
    episode_id: str
    start: int
    length: int
    ratings: list[Given]


class Blocked(Reply):
    """A query that cannot be shown."""

    query_id: str
    criterion: str
    reason: str


class Skipped(Reply):
    """An open query that was passed on."""

    query_id: str
    criterion: str
    skips: int


class TrainerOut(Reply):
    """How the training goes."""

    state: Literal["off", "waiting", "fitting", "failed"]
    message: str
    since_s: float | None


class ProgressOut(Reply):
    """How far the project was at `computed_s`; nothing is known before it was measured once.

    `is_measuring` says that newer figures are on their way, `trouble` what keeps clips from being
    drawn at all.
    """

    computed_s: float | None
    is_measuring: bool
    criteria: list[CriterionProgress]
    ratings: list[RatingsOut]
    contradictions: list[Contradiction]
    blocked: list[Blocked]
    skipped: list[Skipped]
    trainer: TrainerOut
    trouble: str | None


class Said(Reply):
    """What somebody answered."""

    annotator: str
    answer: str
    order: list[list[int]]
    strength: int
    reason: str
    tags: list[str]
    time_s: float


class Disagreement(Reply):
    """A query that was answered differently."""

    query: QueryShown
    answers: list[Said]


class RatingDisagreement(Reply):
    """A clip that was rated differently, or marked far apart."""

    query: QueryShown
    answers: list[Given]


class Disagreements(Reply):
    """The queries that were answered differently: those of several items, and single clips."""

    queries: list[Disagreement]
    ratings: list[RatingDisagreement]


class PolicyScore(Reply):
    """A policy's score (Bradley-Terry, log-odds) with its 95 % interval."""

    name: str
    score: float
    low: float
    high: float
    wins: int
    losses: int
    ties: int
    comparisons: int


class PolicyPair(Reply):
    """By how much policy `a` is above `b` in log-odds, with the 95 % interval.

    Nothing where they were compared neither with each other nor through others.
    """

    a: str
    b: str
    difference: float | None
    low: float | None
    high: float | None
    num: int


class CriterionComparison(Reply):
    """How policies compare by a criterion."""

    criterion: str
    revealed: bool
    policies: list[PolicyScore]
    pairs: list[PolicyPair]


class Comparison(Reply):
    """How policies compare, and how many comparisons wait for an answer."""

    criteria: list[CriterionComparison]
    waiting: int
