"""Episodes of a policy on an arm, one after the other, under an operator's eyes."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from robopref.align.actors import Describing, Stopping
from robopref.align.collect import Group, Plan
from robopref.align.recording import Track
from robopref.data.episode import Episode
from robopref.data.store import EpisodeStore
from robopref.deploy.acting import ArmEnvironment, ChunkActor
from robopref.deploy.attention import Attention
from robopref.deploy.dry_run import describe_first, describe_limits
from robopref.deploy.episode_video import RECORDINGS, EpisodeVideo, recorded, save_videos
from robopref.deploy.operator import Operator, Word, nobody_is_needed
from robopref.deploy.page import Status
from robopref.errors import DataError, HardwareError, Unattended
from robopref.hardware.step_record import DECISIONS, FILTERS
from robopref.seeding import make_rng

SPEEDS = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0)
"""Shares of the greatest speeds that `faster` and `slower` go through."""


class Outcome(StrEnum):
    """How an episode ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    STOPPED = "stopped"
    TIME = "time"
    NO_PROGRESS = "no progress"
    QUIT = "quit"


@dataclass(frozen=True)
class Done:
    """One episode.

    Args:
        episode: What was recorded; None where it ended before the first step.
        outcome: How it ended.
        reason: Why it was stopped; empty where it was not.
        videos: What each camera saw.
    """

    episode: Episode | None
    outcome: Outcome
    reason: str = ""
    videos: Mapping[str, EpisodeVideo] = field(default_factory=dict)


@dataclass(frozen=True)
class Turn:
    """One episode that is to be run.

    Args:
        actor: Decides what the arm does.
        group: The episode: its plan, its start and its identity.
    """

    actor: ChunkActor
    group: Group


def make_turns(actors: Sequence[tuple[ChunkActor, Plan]], seed: int) -> list[Turn]:
    """Return the episodes of all plans, start by start, in an order that nobody can foresee.

    Args:
        actors: Who acts, each with a plan of one episode a group and the same starts.
        seed: Decides the order.
    """
    rng = make_rng(seed, "turns")
    turns = [
        [Turn(actor, group) for actor, group in zip([a for a, _ in actors], groups, strict=True)]
        for groups in zip(*(plan.groups() for _, plan in actors), strict=True)
    ]
    return [of_start[k] for of_start in turns for k in rng.permutation(len(of_start))]


class Session:
    """Runs policies on an arm.

    Args:
        env: Where the arm is.
        operator: Watches it.
        speed: Share of the greatest speeds to begin with.
        by_hand: Whether the operator steers from the start of each episode.
    """

    def __init__(
        self, env: ArmEnvironment, operator: Operator, speed: float, *, by_hand: bool = False
    ) -> None:
        self.env, self.operator, self.speed = env, operator, speed
        self._begins_by_hand = by_hand
        self._episode = "1"
        self._attention = Attention(env, operator)
        self._waiting: list[Word] = []
        if hasattr(env, "attend"):
            setattr(env, "attend", self._attend)  # noqa: B010 - only some steps take long
        # Only real arms ask; one in simulation begins without anybody beside it.
        if getattr(env, "confirm", nobody_is_needed) is not nobody_is_needed:
            setattr(env, "confirm", self._confirm)  # noqa: B010 - see above

    def preview(self, turn: Turn) -> str:
        """Say what the arm is kept to, arm it, and return where the first actions would lead.

        Raises:
            Unattended: Nobody lets it begin.
        """
        self.env.set_speed(self.speed)
        self.operator.tell(describe_limits(self.env.arm_spec, self.env.safety))
        with self._attention:
            obs, _ = self.env.reset(seed=turn.group.seeds[0])
        turn.actor.begin(turn.group.seeds)
        return describe_first(self.env.preview(turn.actor.act_chunk([obs])[0]))

    def _confirm(self, question: str) -> str:
        """Ask whether a real arm may begin; return who says so."""
        self.operator.tell(f"{question} g begins, q does not.")
        said = self.operator.wait_for(frozenset({Word.GO, Word.QUIT}))
        return self.operator.name if said is Word.GO else ""

    def may_begin(self) -> bool:
        """Ask the operator."""
        self.operator.tell("g begins, q does not.")
        return self.operator.wait_for(frozenset({Word.GO, Word.QUIT})) is Word.GO

    def run(self, store: EpisodeStore, turns: Sequence[Turn]) -> list[Done]:
        """Run the episodes that the store does not have yet, and store each as it ends.

        A stopped arm goes on only after the operator has said so.

        Raises:
            DataError: An episode cannot be written, as on a full disk; the arm is stopped.
        """
        known = {row.episode_id for row in store.rows}
        left = [turn for turn in turns if not known.issuperset(turn.group.ids)]
        found: list[Done] = []
        for number, turn in enumerate(left):
            self._episode = f"{number + 1} of {len(left)}"
            self.operator.tell(f"Episode {self._episode}.")
            done = self.run_episode(turn)
            if done.episode is not None:
                self._keep(store, done)
            found.append(done)
            self.operator.tell(f"  {done.outcome}{': ' if done.reason else ''}{done.reason}")
            if done.outcome is Outcome.QUIT or not self._may_go_on(done):
                break
        return found

    def run_episode(self, turn: Turn) -> Done:
        """Run one episode."""
        group, plan = turn.group, turn.group.plan
        self._waiting = []
        self.env.set_speed(self.speed)
        with self._attention:
            try:
                track = Track(self.env, group.seeds[0], plan.stop_after_success)
            except Unattended:
                return Done(None, Outcome.QUIT)
            except HardwareError as error:
                # Who says stop on the way to the start ends an episode that has not begun.
                outcome = self._listen() if self.operator.urgent() else None
                if outcome is None:
                    raise
                return Done(None, outcome, str(error))
            turn.actor.begin(group.seeds)
            with recorded(self.env) as videos:
                outcome = self._act(turn, track)
        if outcome is Outcome.SUCCESS and track.actions:
            track.successes[-1] = True
        is_stopped = outcome is not Outcome.NO_PROGRESS
        reason = str(track.facts.get("stopped", "")) if is_stopped else ""
        if not track.actions:
            return Done(None, outcome, reason)
        track.truncated = track.truncated or not track.terminated
        facts = {"outcome": outcome.value, "operator": self.operator.name}
        if isinstance(turn.actor, Describing):
            facts |= turn.actor.describe()[0]
        return Done(track.episode(plan, group.ids[0], facts), outcome, reason, videos)

    def _act(self, turn: Turn, track: Track) -> Outcome:
        """Let the policy or the operator act until the episode ends; return how it does."""
        self._attention.is_by_hand = self._begins_by_hand
        was_by_hand = False
        while True:
            outcome = self._listen()
            if outcome is None and isinstance(turn.actor, Stopping):
                track.end_if(turn.actor.has_stopped([track.obs[-1]])[0])
                outcome = Outcome.NO_PROGRESS if track.truncated else None
            if outcome is not None:
                return outcome
            is_by_hand = self._attention.is_by_hand
            if was_by_hand and not is_by_hand:
                # What the policy had planned is of before the person came.
                turn.actor.begin(turn.group.seeds)
            elif is_by_hand and not was_by_hand:
                grip = float(track.actions[-1][-1]) if track.actions else 0.0
                self.operator.device.begin(grip, self.env.reach_m)
            was_by_hand = is_by_hand
            track.step(self._decide(turn.actor, track))
            by_person = np.array([is_by_hand], np.int32)
            track.extras.setdefault("safety.by_person", []).append(by_person)
            self._show(track)
            outcome = _ended(track)
            if outcome is Outcome.STOPPED:
                # Who has said so in the middle of the step may also have said that they quit.
                outcome = self._listen() or outcome
            if outcome is not None:
                return outcome

    def _attend(self) -> None:
        """Hear the operator in the middle of a step; what can wait is heard after it."""
        for word in self.operator.words():
            if word is Word.PAUSE:
                word = self._wait_at_pause()
            if word in (Word.STOP, Word.QUIT):
                self.env.stop(f"{self.operator.name} said {word}")
            if word in (Word.FASTER, Word.SLOWER):
                self._change_speed(1 if word is Word.FASTER else -1)
            else:
                self._waiting.append(word)

    def _wait_at_pause(self) -> Word:
        self.operator.tell("  paused; g goes on")
        return self.operator.wait_for(frozenset({Word.GO, Word.STOP, Word.SUCCESS, Word.FAILURE}))

    def _show(self, track: Track) -> None:
        """Let the operator see how things are, and what the supervisor did in the last step."""
        did, by = (
            names[int(track.extras[f"safety.{column}"][-1][0])]
            for column, names in (("decision", DECISIONS), ("filter", FILTERS))
        )
        by_hand = self._attention.is_by_hand
        steps = len(track.actions)
        self.operator.show(Status(self._episode, steps, by_hand, self.speed, did, by))

    def _decide(self, actor: ChunkActor, track: Track) -> np.ndarray:
        """Return the next action, by the policy or by the operator."""
        if self._attention.is_by_hand:
            return self.operator.device.action()
        action: np.ndarray = actor.act([track.obs[-1]])[0]
        return action

    def _keep(self, store: EpisodeStore, done: Done) -> None:
        assert done.episode is not None
        try:
            store.add(done.episode)
            save_videos(store.root / RECORDINGS, done.episode.id, done.videos)
        except (DataError, OSError):
            # An arm that nobody hears of has no reason to move.
            self.env.stop("its episodes cannot be stored")
            raise

    def _listen(self) -> Outcome | None:
        """Do what the operator says; return how the episode ends by it, if it does."""
        words, self._waiting = deque([*self._waiting, *self.operator.words()]), []
        while words:
            word = words.popleft()
            if word is Word.PAUSE:
                word = self._wait_at_pause()
            if word is Word.TAKE and not getattr(self.env, "is_steered", True):
                self.operator.tell("  a primitive is not steered; p pauses, space stops")
            elif word is Word.TAKE:
                self._attention.is_by_hand = not self._attention.is_by_hand
                how = f"you steer: {self.operator.device.shown} · t gives back"
                by_hand = self._attention.is_by_hand
                self.operator.tell(f"  {how if by_hand else 'the policy acts again'}")
            if word in (Word.FASTER, Word.SLOWER):
                self._change_speed(1 if word is Word.FASTER else -1)
            if word in _ENDS:
                if word in (Word.STOP, Word.QUIT):
                    self.env.stop(f"{self.operator.name} said {word}")
                self._waiting = list(words)
                return Outcome.QUIT if Word.QUIT in words else _ENDS[word]
        return None

    def _change_speed(self, by: int) -> None:
        others = [s for s in SPEEDS if (s - self.speed) * by > 1e-9]
        if others:
            self.speed = min(others) if by > 0 else max(others)
            self.env.set_speed(self.speed)
        self.operator.tell(f"  {100 * self.speed:.0f} % of the speed")

    def _may_go_on(self, done: Done) -> bool:
        # Who judges an episode and then says stop has not said that the next one may begin.
        if done.outcome is not Outcome.STOPPED and Word.STOP not in self._waiting:
            return True
        self.operator.tell(
            "  The arm was stopped. Look at it; g lets it start again, q ends the session."
        )
        return self.operator.wait_for(frozenset({Word.GO, Word.QUIT})) is Word.GO


_ENDS = {
    Word.STOP: Outcome.STOPPED, Word.QUIT: Outcome.QUIT, Word.SUCCESS: Outcome.SUCCESS,
    Word.FAILURE: Outcome.FAILURE,
}  # fmt: skip


def _ended(track: Any) -> Outcome | None:
    if "stopped" in track.facts:
        return Outcome.STOPPED
    if track.successes[-1]:
        return Outcome.SUCCESS
    return Outcome.TIME if track.done else None
