"""Clips for the benchmark of visual rewards: pictures of scripted episodes of every quality.

A clip is an episode thinned out to at most 45 frames, as features of a frozen ImageNet encoder,
with what is known of it: on the table how good each frame is, in the manner of RAPL's tables; of a
robot how much it shows of a behaviour. What was encoded is kept in runs/bench-rapl.

Shapes: T frames of a clip, V views, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load_file, save

from robopref.config import write_bytes_atomically
from robopref.data.episode import batch_segments
from robopref.data.segment import Segment
from robopref.envs.make import make_env
from robopref.envs.planar.styles import QUALITIES, quality_style
from robopref.envs.scripted import scripted_policy
from robopref.envs.styles import ViaStyle
from robopref.frame_features import VIEWS, AugmentationConfig, FeatureCache
from robopref.seeding import derive_seed
from robopref.types import STATE, Obs
from robopref.visual_encoders import FrameEncoderConfig

RUNS = Path("runs/bench-rapl")
MAX_FRAMES, IMAGE_PX, NUM_VIEWS = 45, 112, 2
SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
"""How far clips of Meta-World go the preferred way and not the other one."""
MOTION_NOISE, LOST_NOISE = 0.1, 1.5
"""Of a Meta-World clip's motions, and of one that is lost in them, in units of the action."""


@dataclass(frozen=True, eq=False)
class Clip:
    """An episode as a visual reward sees it.

    Args:
        name: Identity.
        quality: How it was made.
        features: Of its frames, (T, F).
        views: Of augmented frames, (T, V, F).
        value: What people compare it by: the mean of its frames' values, or where these are not
            known how much it shows of the behaviour.
        frame_values: How good each frame is by itself, (T,); NaN where that is not known.
    """

    name: str
    quality: str
    features: Float[np.ndarray, "T F"]
    views: Float[np.ndarray, "T V F"]
    value: float
    frame_values: Float[np.ndarray, " T"]

    def __len__(self) -> int:
        return len(self.features)

    @property
    def segment(self) -> Segment:
        """The whole clip."""
        return Segment(self.name, 0, len(self))

    def cut(self) -> tuple[Obs, np.ndarray]:
        """Return what rewards see of it: features and those of views, and actions without sense."""
        return {STATE: self.features, VIEWS: self.views}, np.zeros((len(self), 2), np.float32)

    def at(self, places: np.ndarray, quality: str) -> "Clip":
        """Return the clip of the frames at `places`, such as turned around."""
        return replace(
            self, name=f"{self.name} {quality}", quality=quality, features=self.features[places],
            views=self.views[places], frame_values=self.frame_values[places],
        )  # fmt: skip


def load_clips(env_id: str, behaviour: Any, split: str, num: int, runs: Path = RUNS) -> list[Clip]:
    """Return clips of every quality in turn, made first where they are missing.

    Args:
        env_id: The task.
        behaviour: Config of what people prefer there.
        split: Decides the starts, with the number of the clip.
        num: How many.
        runs: Where clips are kept.
    """
    folder = runs / "clips" / env_id.replace("/", "-") / type(behaviour).__name__ / split
    env: Any = None
    clips = []
    for number in range(num):
        path = folder / f"{number:04d}.safetensors"
        if not path.is_file():
            env = env or make_env(env_id)
            arrays = _record(env, behaviour, _style(behaviour, number), split, number)
            write_bytes_atomically(path, save(arrays))
        arrays = load_file(path)
        clips.append(
            Clip(
                f"{env_id} {split} {number}",
                _style(behaviour, number)[0],
                arrays["features"].astype(np.float32),
                arrays["views"].astype(np.float32),
                float(arrays["value"][0]),
                arrays["frame_values"],
            )
        )
    if env is not None:
        env.close()
    return clips


def spoiled(clip: Clip, rng: np.random.Generator) -> list[Clip]:
    """Return a clip as no one may like it: turned around, in no order, and half done."""
    places = np.arange(len(clip))
    return [
        clip.at(places[::-1], "reversed"),
        clip.at(rng.permutation(places), "shuffled"),
        clip.at(places[: max(2, len(clip) // 2)], "half"),
    ]


def at_another_speed(clip: Clip) -> Clip:
    """Return a clip that shows the same, slow at first and then fast."""
    share = np.linspace(0.0, 1.0, len(clip)) ** 1.5
    return clip.at((share * (len(clip) - 1)).round().astype(int), "other-speed")


def _style(behaviour: Any, number: int) -> tuple[str, Any, float]:
    """Return the name of a quality, the style that shows it, and the noise on its motions."""
    if hasattr(behaviour, "kind"):
        quality = QUALITIES[number % len(QUALITIES)]
        return quality, quality_style(behaviour.kind, quality), 0.05
    good, other = behaviour.styles()
    assert isinstance(good, ViaStyle)
    assert isinstance(other, ViaStyle)
    which = number % (len(SHARES) + 1)
    if which == len(SHARES):
        return "lost", good, LOST_NOISE
    share = SHARES[which]
    offset = share * np.array(good.offset_m) + (1 - share) * np.array(other.offset_m)
    return f"{share:.0%}", replace(good, offset_m=tuple(offset)), MOTION_NOISE


def _record(
    env: Any, behaviour: Any, style: tuple[str, Any, float], split: str, number: int
) -> dict[str, np.ndarray]:
    """Act out an episode; return its features and what is known of it."""
    seed = derive_seed(0, "bench-rapl", env.env_id, split, number) % 2**31
    policy = scripted_policy(env, style[1], np.random.default_rng(seed), noise=style[2])
    obs, info = env.reset(seed=seed)
    policy.reset(np.random.default_rng(seed))
    states, actions, rewards, done = [obs[STATE]], [], [], False
    scenes = [env.get_state()]
    while not done:
        actions.append(policy.act(obs))
        obs, reward, terminated, truncated, info = env.step(actions[-1])
        states.append(obs[STATE])
        rewards.append(float(reward))
        scenes.append(env.get_state())
        done = terminated or truncated
    seen, steps = np.stack(states), np.stack([scene.step for scene in scenes])
    kept = np.linspace(0, len(steps) - 1, min(len(steps), MAX_FRAMES)).round().astype(int)
    frames = env.render_states(steps[kept], scenes[0].episode, width=IMAGE_PX, height=IMAGE_PX)
    found = _cache().features(frames)
    if hasattr(behaviour, "score_states"):
        by_frame = behaviour.score_states(seen[kept])
        value = by_frame.mean()
    else:
        by_frame = np.full(len(kept), np.nan)
        # Who does not do the task is worse than all who do.
        value = behaviour.measure(seen, np.stack(actions), np.array(rewards))
        value -= float(not info["success"])
    return {
        "features": found.features.astype(np.float16), "views": found.views.astype(np.float16),
        "value": np.array([value]), "frame_values": by_frame.astype(np.float64),
    }  # fmt: skip


@cache
def _cache() -> FeatureCache:
    return FeatureCache(FrameEncoderConfig().build(), augmentation=AugmentationConfig(NUM_VIEWS))


def segments_of(clips: Sequence[Clip]) -> Any:
    """Return clips as rewards take them, without the views."""
    return batch_segments([({STATE: clip.features}, clip.cut()[1]) for clip in clips])
