"""Settings of a labelling project: what is asked, of how many, and how it is checked."""

from dataclasses import dataclass

from robopref.errors import check_at_least, check_between
from robopref.preferences.names import check_name_text

KINDS = ("pair", "ranking", "candidates", "rating")
"""Kinds of queries: two clips, several clips, action candidates, one clip by itself."""
TAGS = ("faster", "smoother", "gentler", "more precise", "reaches the goal", "looks safer")
"""Reasons that an annotator may tick."""
MAX_TAGS = 10
"""Reasons that may be offered: as many as the page has keys for."""
SUCCESS = "success"
"""Criterion by which a single clip is a success or a failure."""


@dataclass(frozen=True)
class Criterion:
    """By what clips are judged.

    Args:
        name: Under which answers are kept. Single clips are judged to be a success or a failure by
            "success", and to be good or bad by any other.
        question: What the annotator is asked of several.
        clip_question: What is asked of a single clip.
    """

    name: str
    question: str
    clip_question: str = "Is it good?"

    @property
    def verdicts(self) -> tuple[str, str]:
        """What a single clip may be, the better one first."""
        return ("success", "failure") if self.name == SUCCESS else ("good", "bad")

    @classmethod
    def parse(cls, text: str) -> "Criterion":
        """Return the criterion of `name`, `name=question` or `name=question|clip_question`.

        Raises:
            ValueError: The name is empty, too long, or not printable.

        Example:
            >>> Criterion.parse("speed").question
            'Which is better by speed?'
            >>> Criterion.parse("gentle=Which touch is gentler?|Is it gentle?").clip_question
            'Is it gentle?'
        """
        name, _, questions = (part.strip() for part in text.partition("="))
        question, _, clip_question = (part.strip() for part in questions.partition("|"))
        check_name_text("criterion", name)
        by = "" if name == "overall" else f" by {name}"
        usual = "Did it succeed?" if name == SUCCESS else f"Is it good{by}?"
        return cls(name, question or f"Which is better{by}?", clip_question or usual)


@dataclass(frozen=True)
class LabelConfig:
    """Settings of a labelling project."""

    title: str = "robopref"
    """What stands on top of the page."""
    criteria: tuple[Criterion, ...] = (Criterion("overall", "Which is better?"),)
    """By what is judged; each is asked and kept on its own."""
    tags: tuple[str, ...] = TAGS
    """Reasons that an annotator may tick."""
    overlap: int = 1
    """How many annotators answer each query."""
    lease_s: float = 120.0
    """How long a query is kept for who was shown it [s]; the page renews it."""
    gold_every: int = 15
    """After so many answers, one query whose answer is known; 0 for never."""
    repeat_every: int = 20
    """After so many answers, one of them once more, turned around; 0 for never."""
    attention_every: int = 0
    """After so many answers, one that says which key to press; 0 for never."""
    num_ahead: int = 2
    """Queries whose clips are made ready while one is answered."""
    show_reward_lane: bool = False
    """Whether the learned reward is drawn under a clip without being asked for."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if not self.criteria:
            raise ValueError("`criteria` must name at least one criterion.")
        names = [criterion.name for criterion in self.criteria]
        if len(set(names)) != len(names):
            raise ValueError(f"`criteria` must have different names, got {names}.")
        if len(self.tags) > MAX_TAGS:
            raise ValueError(
                f"`tags` must be at most {MAX_TAGS}, one for each key that the page has for them, "
                f"got {len(self.tags)}."
            )
        check_between("overlap", self.overlap, 1, 1000)
        check_between("lease_s", self.lease_s, 1, 24 * 3600)
        for name in ("gold_every", "repeat_every", "attention_every"):
            value = getattr(self, name)
            if value == 1:
                raise ValueError(f"`{name}` must be 0 or at least 2, got 1: nothing else is asked.")
            check_at_least(name, value, 0)
        check_between("num_ahead", self.num_ahead, 0, 20)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the criteria."""
        return tuple(criterion.name for criterion in self.criteria)
