"""Plots of a transfer's report, as SVG in the style of all reports.

Shapes: A B blocks of segments, R votes, P pairs.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from robopref.align.figures import AFTER, BEFORE, INK, MUTED, SELECTED, new_axes, svg_data
from robopref.envs.scene import Scene


def correspondence_figure(weight: Float[np.ndarray, "A B"], *, by_plan: bool) -> str:
    """Plot which source segments stand for which target segments, both from worst to best."""
    figure, axes = new_axes(3.6, 3.4)
    axes.grid(visible=False)
    axes.imshow(
        weight, origin="lower", aspect="auto", cmap="Blues", extent=(0, 1, 0, 1),
        vmin=0, vmax=max(float(np.quantile(weight, 0.99)), 1e-12), interpolation="nearest",
    )  # fmt: skip
    axes.set_xticks([0, 1], ["worst", "best"])
    axes.set_yticks([0, 1], ["worst", "best"])
    axes.set_xlabel("target segments, as transferred", fontsize=9, color=INK)
    axes.set_ylabel("source segments, as answered", fontsize=9, color=INK)
    axes.set_title("transport plan" if by_plan else "closeness of features", fontsize=9, color=INK)
    return svg_data(figure)


def features_figure(liked: Mapping[str, tuple[float, float]], num: int = 12) -> str:
    """Plot what is liked in the source and what the transfer likes in the target."""
    shown = dict(list(liked.items())[:num])
    figure, axes = new_axes(4.6, 0.6 + 0.24 * max(len(shown), 4))
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x", color="#e4e7eb", linewidth=0.8)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    rows = np.arange(len(shown))[::-1]
    source, target = np.array(list(shown.values())).reshape(-1, 2).T
    axes.hlines(rows, source, target, color="#cbd2d9", linewidth=2)
    axes.scatter(source, rows, color=BEFORE, s=26, label="source", zorder=3)
    axes.scatter(target, rows, color=AFTER, s=26, label="target", zorder=3)
    axes.set_yticks(rows, list(shown))
    axes.tick_params(axis="y", colors=INK, length=0)
    axes.set_xlim(-1.05, 1.05)
    axes.set_xlabel("correlation with being preferred", fontsize=9, color=INK)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    return svg_data(figure)


def votes_figure(correlations: Float[np.ndarray, " R"]) -> str:
    """Plot each vote by how it goes with all of them; left of 0 it points the other way round."""
    figure, axes = new_axes(4.6, 1.5)
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.axvspan(-1.05, 0, color="#fdeeee", linewidth=0)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    # Equal votes stand on top of each other.
    places = np.round(correlations * 25) / 25
    heights = [int((places[:k] == place).sum()) for k, place in enumerate(places)]
    axes.scatter(places, heights, color=np.where(places < 0, "#c53030", AFTER), s=26)
    axes.set_xlim(-1.05, 1.05)
    axes.set_ylim(-0.8, max(4.0, max(heights) + 1.0))
    axes.set_yticks([])
    axes.set_xlabel("correlation of each vote with all together", fontsize=9, color=INK)
    axes.text(-1.0, axes.get_ylim()[1] * 0.8, "the other way round", fontsize=8, color="#c53030")
    return svg_data(figure)


def calibration_figure(
    probability: Float[np.ndarray, " P"], is_b: Bool[np.ndarray, " P"], num_bins: int = 5
) -> str:
    """Plot how often the more probable order is right, against how probable it is held to be."""
    confidence = np.maximum(probability, 1 - probability)
    right = (probability > 0.5) == is_b
    place = np.minimum(((confidence - 0.5) * 2 * num_bins).astype(int), num_bins - 1)
    figure, axes = new_axes(3.6, 3.0)
    axes.plot([0.5, 1], [0.5, 1], color=MUTED, linewidth=1, linestyle="--", label="calibrated")
    bins = [k for k in range(num_bins) if (place == k).any()]
    x = [float(confidence[place == k].mean()) for k in bins]
    y = [float(right[place == k].mean()) for k in bins]
    share = np.array([float((place == k).mean()) for k in bins])
    axes.plot(x, y, color=AFTER, linewidth=1.2)
    axes.scatter(x, y, color=AFTER, s=20 + 180 * share, label="pairs", zorder=3)
    axes.set_xlim(0.48, 1.02)
    axes.set_ylim(min(0.45, min(y) - 0.05), 1.03)
    axes.set_xlabel("confidence", fontsize=9, color=INK)
    axes.set_ylabel("share ordered right", fontsize=9, color=INK)
    axes.legend(frameon=False, fontsize=8, loc="best", markerscale=0.6)
    return svg_data(figure)


def confidence_figure(probability: Float[np.ndarray, " P"]) -> str:
    """Plot how confident the transferred pairs are."""
    figure, axes = new_axes(3.6, 3.0)
    confidence = np.maximum(probability, 1 - probability)
    axes.hist(confidence, bins=20, range=(0.5, 1.0), color=AFTER, rwidth=0.9)
    axes.set_xlabel("confidence", fontsize=9, color=INK)
    axes.set_ylabel("pairs", fontsize=9, color=INK)
    return svg_data(figure)


def scene_figure(scene: Scene) -> str:
    """Plot the ways of hand and object from above, where nothing better can be shown."""
    figure, axes = new_axes(2.3, 2.3)
    ways = {"hand": (scene.hand, AFTER), "object": (scene.objects[:, 0], BEFORE)}
    for name, (way, colour) in ways.items():
        axes.plot(way[:, 0], way[:, 1], color=colour, linewidth=1.4, label=name)
        axes.scatter(*way[-1, :2], color=colour, s=16)
    goal = scene.goal[-1]
    if np.isfinite(goal).all():
        axes.scatter(*goal[:2], color=SELECTED, marker="x", s=30, label="goal")
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.15)
    axes.set_xlabel("x [m]", fontsize=8, color=INK)
    axes.set_ylabel("y [m]", fontsize=8, color=INK)
    axes.legend(frameon=False, fontsize=7)
    return svg_data(figure)
