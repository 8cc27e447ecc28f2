"""What is learned: a policy from demonstrations; from rankings a tuned one, and an ensemble.

Shapes: K primitives shown for a state, G rankings.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robopref.align.run import save_figures
from robopref.config import resolve
from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.deform.actors import SHOWN
from robopref.deform.config import DeformConfig
from robopref.policies.finetune.data import FinetuneData, Judgement
from robopref.policies.finetune.group_sources import GroupsConfig
from robopref.policies.finetune.unpaired import KTOConfig
from robopref.preferences.candidates import CandidateView
from robopref.rewards.deformpam import CandidateReward, scores_of
from robopref.rewards.score_weights import fit_weights
from robopref.scorers import CombinedScorer, ImplicitScorer
from robopref.seeding import make_generator, make_rng
from robopref.train_policy import train_policy
from robopref.trainer import TrainResult


def with_all_shown(episodes: Sequence[Episode]) -> list[Episode]:
    """Return demonstrations with each primitive that was found good, not the performed one alone.

    Each episode comes back once for every number of primitives that one of its states has; where a
    state has fewer, they come round again.
    """
    copies = []
    for episode in episodes:
        shown = episode.metadata.get(SHOWN, [])[: len(episode)]
        if not shown:
            copies.append(episode)
            continue
        for place in range(max(len(some) for some in shown)):
            actions = np.array([some[place % len(some)] for some in shown], np.float32)
            copies.append(replace(episode, action=actions))
    return copies


def clone(config: DeformConfig, episodes: Sequence[Episode], directory: Path) -> TrainResult:
    """Clone the policy from demonstrations into `directory`; return how the training went."""
    _, result = train_policy(
        resolve(config, "policy"), with_all_shown(episodes), config.base_training,
        directory=directory, seed=config.seed, validation_share=0.0,
    )  # fmt: skip
    return result


def tune(
    config: DeformConfig, base: Any, rankings: CandidateView, directory: Path, number: int
) -> dict[str, float]:
    """Fine-tune a copy of `base` on rankings into `directory`, stopped early where it gets worse.

    Returns:
        Share of the ordered pairs that the implicit reward orders alike, among those that it was
        tuned on and among those held out, and the steps taken.
    """
    training, held = split(config, rankings)

    def accuracy(policy: Any, view: CandidateView) -> float:
        scorer = ImplicitScorer(policy, base, dpo_beta=config.reward.dpo_beta, num_noises=20)
        return view.pair_accuracy(scores_of(scorer, view))

    tuned, result = resolve(config, "method").run(
        base, FinetuneData(rankings=training),
        generator=make_generator(config.seed, "tune", number), directory=directory,
        validate=(lambda policy: {"loss": 1 - accuracy(policy, held)}) if len(held) else None,
    )  # fmt: skip
    figures = {"accuracy": accuracy(tuned, training), "steps": float(result.best_step)}
    return figures | ({"held_out_accuracy": accuracy(tuned, held)} if len(held) else {})


def tune_on_outcomes(
    config: DeformConfig, tuned: Any, episodes: Sequence[Episode], directory: Path, number: int
) -> dict[str, float]:
    """Fine-tune a copy of a policy further on what came of performed primitives, by KTO.

    Where all of them raised the quality, or none did, there is nothing to tell apart, and the copy
    is what the policy was.

    Returns:
        How many raised the quality, how many did not, and the steps of tuning.
    """
    good = sum(int((episode.reward > 0).sum()) for episode in episodes)
    figures = {"good": float(good), "bad": float(sum(map(len, episodes)) - good)}
    judgements = judged_outcomes(episodes, make_rng(config.seed, "outcomes", number))
    if not judgements:
        tuned.save_pretrained(directory / "policy")
        return figures | {"steps": 0.0}
    _, result = KTOConfig(groups=GroupsConfig("answers")).run(
        tuned, FinetuneData(judged=episodes, judgements=judgements),
        generator=make_generator(config.seed, "outcomes", number), directory=directory,
    )  # fmt: skip
    return figures | {"steps": float(result.steps)}


def judged_outcomes(episodes: Sequence[Episode], rng: np.random.Generator) -> list[Judgement]:
    """Return performed primitives as judgements, good if they raised the quality.

    KTO takes each by itself. That a good and a bad one stand in a pair is for the form only: of
    those that there are fewer of, some stand in several; where there are none, there is no pair.
    """
    places = [(episode, step) for episode in episodes for step in range(len(episode))]
    segments = [Segment(episode.id, step, 1) for episode, step in places]
    is_good = np.array([episode.reward[step] > 0 for episode, step in places], bool)
    good, bad = (rng.permutation(np.flatnonzero(which)) for which in (is_good, ~is_good))
    return [
        Judgement.of_pair(segments[bad[k % len(bad)]], segments[good[k % len(good)]], 1.0)
        for k in range(max(len(good), len(bad)) if len(good) and len(bad) else 0)
    ]


def fit_explicit(
    config: DeformConfig, base: Any, rankings: CandidateView, directory: Path, number: int
) -> dict[str, float]:
    """Fit the ensemble to rankings into `directory`; return how well it orders their pairs.

    It starts from what the cloned policy knows, and so has its encoder and its attention.
    """
    training, held = split(config, rankings)
    reward = config.explicit.build(
        base.obs_shapes, base.action_dim, make_generator(config.seed, "explicit", number, "weights")
    )
    start_from(reward, base)
    figures = reward.fit(
        training, validation=held, directory=directory,
        generator=make_generator(config.seed, "explicit", number),
    )  # fmt: skip
    reward.save_pretrained(directory / "reward")
    return figures


def weigh(
    config: DeformConfig,
    base: Any,
    tuned: Any,
    explicit: CandidateReward,
    rankings: CandidateView,
    path: Path,
) -> dict[str, Any]:
    """Find how much each part of the combined reward is to count, and write it to `path`.

    Where no rankings are held out, all count alike.

    Returns:
        The weights, and the share of the held-out pairs that each part and all together order
        alike.
    """
    _, held = split(config, rankings)
    parts = config.reward.parts(tuned, base, explicit)
    found: dict[str, Any] = {"weights": [1.0] * len(parts)}
    if len(held):
        scores = [scores_of(scorer, held) for scorer in parts.values()]
        found["weights"] = list(fit_weights(scores, held.levels))
        combined = CombinedScorer(tuple(parts.values()), found["weights"])
        for name, of in zip(parts, scores, strict=True):
            found[name] = held.pair_accuracy(of)
        found["combined"] = held.pair_accuracy(scores_of(combined, held))
    save_figures(found, path)
    return found


@torch.no_grad()
def start_from(reward: CandidateReward, policy: Any) -> None:
    """Give an ensemble what a cloned policy knows of clouds and actions.

    The policy knows where a primitive takes hold of what; a few rankings then say which is better.
    All members begin with its encoder and its attention at the least noisy step, as the reward head
    of DeformPAM's code does, and differ in what they make of that.

    Raises:
        ValueError: They are of other sizes.
    """
    (adaptation,) = policy.denoiser.adaptation_to(torch.zeros(1, dtype=torch.long))
    for member in reward.members:
        known = {"encoder": policy.encoder, "attention": policy.denoiser.attention}
        for name, part in known.items():
            try:
                member.get_submodule(name).load_state_dict(part.state_dict())
            except RuntimeError as error:
                raise ValueError(
                    f"`explicit` must have the {name} of `policy`, from which it starts. {error}"
                ) from error
        member.get_parameter("adaptation").copy_(adaptation)


def split(config: DeformConfig, rankings: CandidateView) -> tuple[CandidateView, CandidateView]:
    """Return rankings to learn from, and those held out, of other episodes."""
    return rankings.split(config.held_out, make_rng(config.seed, "held-out"))
