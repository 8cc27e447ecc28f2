"""Where groups of chunks come from: from answers, from the reward's order, from candidates.

People judge episodes; a policy is trained on chunks. What lies between is credit assignment, and it
decides: most chunks of two episodes do not differ in what was judged, and their terms are noise.
Groups come from one of four places: the answers themselves, pairs of unlabelled episodes that the
learned reward orders, the policy's own candidates at observations it came by, which the learned
reward scores, or candidates that were themselves judged. Candidates of one observation differ in
nothing but what they do.

Shapes: G groups, K chunks of a group, To observation steps, Tp action chunk, Da action size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from robopref.data.episode import Episode
from robopref.data.windows import ACTION_IS_PAD, PAST_ACTION, WindowSampler
from robopref.errors import check_at_least, check_between, check_choice
from robopref.policies.finetune.credit import advantages, likeness
from robopref.policies.finetune.data import SURE, FinetuneData, Judgement
from robopref.policies.finetune.given import NO_RANKINGS, NO_SCORER, Given
from robopref.policies.finetune.groups import ChunkGroups, all_alike
from robopref.policies.finetune.ordered import Starts, check_compared, ordered_by_reward
from robopref.types import ACTION

Source = Literal["answers", "reward", "candidates", "rankings"]
Credit = Literal["uniform", "advantage", "matched"]


@dataclass(frozen=True)
class GroupsConfig:
    """Where groups of chunks come from, and which of them count."""

    source: Source = "candidates"
    """answers: what was judged; reward: unlabelled episodes in the order of the learned return;
    candidates: the policy's own proposals in the order of the learned score; rankings: answers
    about candidates for one observation."""
    credit: Credit = "uniform"
    """How much the chunks of an episode count for its judgement. uniform: all the same; advantage:
    by how much better the reward holds the better episode's chunk than what the policy would
    have done; matched: by how alike the observations are. Candidates need none."""
    num_groups: int = 4000
    """Groups drawn from the reward or of candidates, and at most so many from answers."""
    num_candidates: int = 16
    """Candidates sampled for each observation; a group takes the best, the worst, and between them
    what is spread evenly over the ranks."""
    num_episodes: int | None = None
    """Unlabelled episodes that are compared for a group, which takes the best, the worst, and
    between them what is spread evenly over the ranks; None for as many as it takes."""
    starts: Starts = "any"
    """Which unlabelled episodes are compared. alike: those that began most alike, so that they
    differ in what was done; the loop then records several of each start. any: random ones."""
    keep_certain: float = 1.0
    """Share of the groups that is kept: those on whose order the reward's members agree most; of
    answers, those that are believed most. Not for rankings, of which nobody says how certain."""
    easy_first: float = 0.0
    """Share of the training over which groups come in, those of the clearest order first."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_choice("source", self.source, get_args(Source))
        check_choice("credit", self.credit, get_args(Credit))
        check_at_least("num_groups", self.num_groups, 1)
        check_at_least("num_candidates", self.num_candidates, 2)
        check_compared(self.source, self.num_episodes, self.starts)
        check_between("keep_certain", self.keep_certain, 0, 1)
        check_between("easy_first", self.easy_first, 0, 1)
        if self.credit != "uniform" and self.source in ("candidates", "rankings"):
            raise ValueError(
                f"`credit` '{self.credit}' is for whole segments; candidates of one observation "
                "need none. Take `source` answers or reward, or `credit` uniform."
            )
        if self.keep_certain == 0:
            raise ValueError("`keep_certain` must be above 0, got 0.")
        if self.keep_certain < 1 and self.source == "rankings":
            raise ValueError(
                f"`keep_certain` (={self.keep_certain}) has nothing to choose by: nobody says how "
                "certain a ranking of candidates is. Leave it at 1."
            )

    @property
    def episodes_per_start(self) -> int:
        """How many of each start are to be recorded, for comparisons of matched starts."""
        return 1 if self.starts == "any" else self.num_episodes or 2

    def check(self, given: Given) -> None:
        """Refuse what will not be there.

        Raises:
            ValueError: These settings need a scorer, rankings or doubted answers.
        """
        if self.source == "rankings":
            if not given.has_rankings:
                raise ValueError(NO_RANKINGS)
            _check_sees_one(given.policy)
        needs_scorer = self.source == "candidates" or self.credit == "advantage"
        if needs_scorer and not given.has_scorer:
            raise ValueError(NO_SCORER)
        if self.source == "answers" and not given.doubts_answers:
            for name, usual in (("keep_certain", 1.0), ("easy_first", 0.0)):
                if getattr(self, name) != usual:
                    raise ValueError(all_alike(name))

    def build(
        self, policy: Any, data: FinetuneData, size: int | None, generator: torch.Generator
    ) -> "ChunkGroups":
        """Return the groups.

        Args:
            policy: Proposes candidates, and says what a window is.
            data: Where they come from.
            size: Chunks in a group; None for two or more, as the answers have.
            generator: Draws what is drawn.

        Raises:
            ValueError: The data lacks what is needed, or orders nothing.
        """
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        if self.source == "candidates":
            groups = _of_candidates(self, policy, data, size or 4, rng, generator)
        elif self.source == "rankings":
            groups = _of_rankings(policy, data, size)
        else:
            groups = _of_episodes(self, policy, data, size, rng, generator)
        return groups.most_certain(self.keep_certain).coming_in(self.easy_first)


def _of_episodes(
    config: GroupsConfig,
    policy: Any,
    data: FinetuneData,
    size: int | None,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> ChunkGroups:
    """Return groups of windows that are as far into their segments, of judged segments."""
    if config.source == "answers":
        episodes, judgements = data.judged, _answers(data, size)
        certainty = np.array([judgement.weight for judgement in judgements])
    else:
        episodes = data.pool
        judgements, certainty = ordered_by_reward(config, data, size or 2, rng)
    sampler = _sampler(policy, episodes)
    starts = np.concatenate([[0], np.cumsum(sampler.lengths)])
    start = {e.id: int(k) for e, k in zip(episodes, starts, strict=False)}
    which, rows = _side_by_side(judgements, start, config.num_groups, rng)
    gains = _padded([j.utilities for j in judgements], rows.shape[1], np.nan)[which]
    found = sampler.gather(rows.clip(0).ravel())
    windows = {
        key: torch.from_numpy(found[key]).view(*rows.shape, *found[key].shape[1:])
        for key in (*policy.obs_shapes, ACTION, ACTION_IS_PAD, PAST_ACTION)
        if key in found
    }
    tensor = torch.from_numpy(gains).float()
    weights = torch.tensor([judgement.weight for judgement in judgements])[which]
    if config.credit == "advantage":
        better = advantages(policy, _scorer(data), windows, generator)
        weights = weights * _difference(better, tensor).clamp_min(0)
    elif config.credit == "matched":
        weights = weights * likeness(policy, windows, tensor.isnan())
    return ChunkGroups(windows, tensor, weights, torch.from_numpy(certainty[which]).float())


def _answers(data: FinetuneData, size: int | None) -> list[Judgement]:
    if not data.judgements:
        raise ValueError("There are no judgements to learn from. Answer some queries first.")
    if not any(judgement.orders for judgement in data.judgements):
        raise ValueError(
            f"All {len(data.judgements)} judgements are ties, which orders nothing. "
            "Answer queries about episodes that differ more."
        )
    if size == 2:
        return [pair for judgement in data.judgements for pair in judgement.pairs()]
    return list(data.judgements)


def _side_by_side(
    judgements: Sequence[Judgement], start: dict[str, int], num: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return which judgement each group is of (G,), and its rows among the windows (G, K).

    Segments are gone through side by side, each at its own pace. Of judgements with fewer segments
    the last places are -1.
    """
    size = max(len(judgement.segments) for judgement in judgements)
    which, rows = [], []
    for number, judgement in enumerate(judgements):
        steps = max(segment.length for segment in judgement.segments)
        columns = [
            start[s.episode_id] + s.start + np.arange(steps) * s.length // steps
            for s in judgement.segments
        ]
        columns += [np.full(steps, -1)] * (size - len(columns))
        rows.append(np.stack(columns, axis=1))
        which.append(np.full(steps, number))
    every, of = np.concatenate(rows), np.concatenate(which)
    if len(every) > num:
        drawn = np.sort(rng.choice(len(every), num, replace=False))
        every, of = every[drawn], of[drawn]
    return of, every


def _sampler(policy: Any, episodes: Sequence[Episode]) -> WindowSampler:
    return WindowSampler(
        episodes, policy.n_obs_steps, policy.chunk_size, num_past_actions=policy.num_past_actions
    )


def _of_candidates(
    config: GroupsConfig,
    policy: Any,
    data: FinetuneData,
    size: int,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> ChunkGroups:
    """Return candidates of the policy at observations of the pool, best first."""
    scorer = _scorer(data)
    if not data.pool:
        raise ValueError(
            "Candidates are proposed at observations of unlabelled episodes, of which there are "
            "none. Record some, or take `groups.source` answers."
        )
    sampler = _sampler(policy, data.pool)
    drawn = np.sort(rng.choice(len(sampler), min(config.num_groups, len(sampler)), replace=False))
    found = sampler.gather(drawn)
    obs = {key: torch.from_numpy(found[key]) for key in policy.obs_shapes}
    with torch.no_grad():
        chunks = policy.sample(obs, config.num_candidates, generator)
        scores, doubt = scorer.score(obs, chunks), scorer.uncertainty(obs, chunks)
    if not torch.isfinite(scores).all():
        raise ValueError("The action scorer returned scores that are not finite.")
    order = scores.argsort(dim=1, descending=True, stable=True)
    picked = order[:, torch.linspace(0, config.num_candidates - 1, size).round().long()]
    gains, deviation = scores.gather(1, picked), doubt.gather(1, picked)
    place = picked[..., None, None].expand(-1, -1, *chunks.shape[2:])
    windows = {key: value[:, None].expand(-1, size, *value.shape[1:]) for key, value in obs.items()}
    if PAST_ACTION in found:
        past = torch.from_numpy(found[PAST_ACTION])[:, None]
        windows[PAST_ACTION] = past.expand(-1, size, *past.shape[2:])
    windows[ACTION] = chunks.gather(1, place)
    windows[ACTION_IS_PAD] = torch.zeros(windows[ACTION].shape[:3], dtype=torch.bool)
    certainty = (gains[:, 0] - gains[:, -1]) / (deviation[:, 0] + deviation[:, -1] + 1e-6)
    return ChunkGroups(windows, gains.float(), torch.ones(len(gains)), certainty.float())


def _of_rankings(policy: Any, data: FinetuneData, size: int | None) -> ChunkGroups:
    """Return the candidates of each ranking, or each pair of them that was put in an order.

    The candidates of a group share their observation, which is there once.
    """
    view = data.rankings
    if view is None:
        raise ValueError(NO_RANKINGS)
    _check_sees_one(policy)
    rows, places = np.arange(len(view)), np.tile(np.arange(view.levels.shape[1]), (len(view), 1))
    if size == 2:
        rows, better, worse = np.nonzero(view.levels[:, :, None] > view.levels[:, None, :])
        places = np.stack([better, worse], axis=1)
    windows = {
        key: torch.from_numpy(view.obs[key][rows][:, None, None]) for key in policy.obs_shapes
    }
    windows[ACTION] = torch.from_numpy(view.candidates[rows[:, None], places])
    windows[ACTION_IS_PAD] = torch.zeros(windows[ACTION].shape[:3], dtype=torch.bool)
    gains = SURE * torch.from_numpy(view.levels[rows[:, None], places]).float()
    return ChunkGroups(windows, gains, torch.ones(len(rows)), torch.ones(len(rows)))


def _check_sees_one(policy: Any) -> None:
    if policy.n_obs_steps != 1:
        raise ValueError(
            "Candidates were ranked for one observation each, and the policy needs "
            f"{policy.n_obs_steps}. Take a policy with `n_obs_steps` 1."
        )


def _scorer(data: FinetuneData) -> Any:
    if data.scorer is None:
        raise ValueError(NO_SCORER)
    return data.scorer


def _padded(rows: Sequence[Sequence[float]], size: int, filler: float) -> np.ndarray:
    return np.array([[*row, *[filler] * (size - len(row))] for row in rows])


def _difference(value: Float[Tensor, "G K"], gains: Float[Tensor, "G K"]) -> Float[Tensor, " G"]:
    """Return the value of each group's best chunk less that of its worst."""
    best, worst = gains.nan_to_num(-torch.inf).argmax(1), gains.nan_to_num(torch.inf).argmin(1)
    return (value.gather(1, best[:, None]) - value.gather(1, worst[:, None]))[:, 0]
