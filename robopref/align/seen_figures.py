"""Pictures of what a reward that sees makes of episodes.

The reward along an episode under its frames, which frames of a preferred clip they match, and a map
of the embedding in which they are compared.

Shapes: T steps, F pictures, N frames of a clip, J of the preferred one, E embedding size.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from robopref.align.figures import AFTER, BEFORE, INK, MUTED, film_strip, new_axes, svg_data

NUM_PICTURES = 9


def clip_figure(
    frames: UInt8[np.ndarray, "F H W 3"],
    reward: Float[np.ndarray, " T"],
    spread: Float[np.ndarray, " T"],
    *,
    matched: tuple[np.ndarray, Float[np.ndarray, "N J"]] | None = None,
    title: str = "",
) -> str:
    """Plot the reward along an episode under its pictures, and below what it matches.

    Args:
        frames: Pictures of the episode, evenly spaced from its start to its end.
        reward: Of each step.
        spread: Of the ensemble.
        matched: Steps of the compared frames, and how far each is matched with each frame of a
            preferred clip; None where the reward matches nothing.
        title: What the episode is.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    heights = [1.0, 1.3] + [1.9] * (matched is not None)
    figure, panels = plt.subplots(
        len(heights), 1, figsize=(7.2, 0.95 * sum(heights)), sharex=True, squeeze=False,
        gridspec_kw={"height_ratios": heights, "hspace": 0.08},
    )  # fmt: skip
    strip, curve, *rest = panels[:, 0]
    last = max(len(reward) - 1, 1)
    strip.imshow(film_strip(frames, NUM_PICTURES), extent=(0, last, 0, 1), aspect="auto")
    strip.set_axis_off()
    strip.set_title(title, fontsize=9, color=INK, loc="left")
    steps = np.arange(len(reward))
    curve.plot(steps, reward, color=AFTER, linewidth=1.6)
    curve.fill_between(
        steps, reward - spread, reward + spread, color=AFTER, alpha=0.15, linewidth=0
    )
    curve.set_ylabel("reward", fontsize=8, color=INK)
    curve.grid(axis="y", color="#e4e7eb", linewidth=0.8)
    if matched is not None:
        _plot_match(rest[0], *matched)
    panels[-1, 0].set_xlabel("step", fontsize=8, color=INK)
    panels[-1, 0].set_xlim(0, last)
    for axes in panels[1:, 0]:
        axes.tick_params(colors=MUTED, labelsize=7)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return svg_data(figure)


def _plot_match(axes: Any, steps: np.ndarray, plan: Float[np.ndarray, "N J"]) -> None:
    """Draw a plan with the clip's own steps along its width."""
    between = (steps[1:] + steps[:-1]) / 2
    edges = np.concatenate([steps[:1], between, steps[-1:]])
    # A clip of one frame has no width.
    edges = edges if len(steps) > 1 else np.array([0.0, 1.0])
    axes.pcolormesh(edges, np.arange(plan.shape[1] + 1), plan.T, cmap="Blues", vmin=0.0)
    axes.set_ylabel("frame of the\npreferred clip", fontsize=8, color=INK)


def map_figure(
    groups: Mapping[str, Sequence[Float[np.ndarray, "_T E"]]],
    preferred: Sequence[Float[np.ndarray, "_J E"]] = (),
) -> str:
    """Plot where the frames of episodes lie in the plane in which all of them differ most.

    Args:
        groups: For each policy, the embedded frames of its episodes.
        preferred: Those of preferred clips.
    """
    flat = np.concatenate([*(way for ways in groups.values() for way in ways), *preferred])
    centre = flat.mean(axis=0)
    _, spread, directions = np.linalg.svd(flat - centre, full_matrices=False)
    shares = np.square(spread) / max(float(np.square(spread).sum()), 1e-12)
    plane = np.zeros((flat.shape[1], 2))
    plane[:, : min(2, len(directions))] = directions[:2].T
    figure, axes = new_axes(4.8, 3.6)
    for ways, colour, name in (
        *((ways, colour, name) for (name, ways), colour in
          zip(groups.items(), (BEFORE, AFTER), strict=False)),
        (preferred, INK, "preferred clips"),
    ):  # fmt: skip
        for number, way in enumerate(ways):
            x, y = ((way - centre) @ plane).T
            axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.35)
            axes.plot(x[:1], y[:1], "o", color=colour, markersize=4)
            last = "" if number else name
            axes.plot(x[-1:], y[-1:], "s", color=colour, markersize=6, label=last, zorder=3)
    for name, share in zip(("x", "y"), np.pad(shares, (0, 2))[:2], strict=True):
        getattr(axes, f"set_{name}label")(f"{share:.0%} of the variance", fontsize=8, color=MUTED)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return svg_data(figure)
