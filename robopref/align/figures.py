"""Pictures of a report: plots as SVG, clips as MP4, both small enough to stand inside the page."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robopref.data.episode import Episode

INK, MUTED, BEFORE, AFTER, SELECTED = "#1f2933", "#7b8794", "#d9822b", "#2b6cb0", "#2f855a"


def svg_data(figure: Any) -> str:
    """Return a matplotlib figure as inline SVG and close it."""
    import matplotlib.pyplot as plt

    buffer = io.StringIO()
    # A fixed salt and no date: the same run makes the same file.
    with plt.rc_context({"svg.hashsalt": "robopref"}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def new_axes(width: float = 4.6, height: float = 2.6) -> tuple[Any, Any]:
    """Return a figure and axes in the report's style."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(width, height))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=8)
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def rates_figure(rates: Mapping[str, Mapping[str, Any]]) -> str:
    """Plot success, preferred and joint rate of each policy with their intervals.

    Args:
        rates: For each policy, for each rate, an object with `value`, `low`, `high`, `num`.
    """
    figure, axes = new_axes(6.4, 2.8)
    colours = (BEFORE, SELECTED, AFTER)
    names = ("success", "preferred", "joint")
    for k, (policy, row) in enumerate(rates.items()):
        shown = [(x, row[name]) for x, name in enumerate(names) if row[name].num]
        x = np.array([place for place, _ in shown]) + (k - (len(rates) - 1) / 2) * 0.24
        value = np.array([rate.value for _, rate in shown])
        error = [value - [r.low for _, r in shown], [r.high for _, r in shown] - value]
        axes.bar(x, value, 0.22, color=colours[k % 3], label=policy)
        axes.errorbar(x, value, error, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
    axes.set_xticks(range(3), ["success", "preferred\n(among successes)", "joint"])
    axes.tick_params(axis="x", colors=INK, labelsize=9)
    axes.set_ylim(0, 1.05)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return svg_data(figure)


def curves_figure(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x: str,
    y: str,
    is_share: bool = False,
) -> str:
    """Plot named curves of (x values, y values); shares on the whole scale from 0 to 1."""
    figure, axes = new_axes()
    for (name, (xs, ys)), colour in zip(
        curves.items(), (BEFORE, AFTER, SELECTED, INK, MUTED), strict=False
    ):
        axes.plot(
            xs, ys, color=colour, linewidth=1.6, label=name, marker="." if len(xs) < 20 else None
        )
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    if is_share:
        axes.set_ylim(0, 1.05)
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize=8)
    return svg_data(figure)


def reward_figure(rows: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """Plot the learned reward along episodes: for each name the rewards and their spread, (T,)."""
    figure, axes = new_axes(6.4, 2.6)
    for (name, (reward, spread)), colour in zip(rows.items(), (BEFORE, AFTER), strict=False):
        steps = np.arange(len(reward))
        axes.plot(steps, reward, color=colour, linewidth=1.6, label=name)
        axes.fill_between(steps, reward - spread, reward + spread, color=colour, alpha=0.15)
    axes.set_xlabel("step", fontsize=9, color=INK)
    axes.set_ylabel("learned reward", fontsize=9, color=INK)
    axes.legend(frameon=False, fontsize=8)
    return svg_data(figure)


def paths_figure(groups: Mapping[str, Sequence[np.ndarray]]) -> str:
    """Plot the hand's paths of several policies side by side, from above, as the camera faces it.

    Args:
        groups: For each policy, paths (A, 2) of x and y [m].
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        1, len(groups), figsize=(2.5 * len(groups), 2.6), sharex=True, sharey=True, squeeze=False
    )
    for axes, (name, paths), colour in zip(
        panels[0], groups.items(), (BEFORE, SELECTED, AFTER), strict=False
    ):
        for path in paths:
            axes.plot(path[:, 0], path[:, 1], color=colour, alpha=0.35, linewidth=1)
        axes.set_title(name, fontsize=9, color=INK)
        axes.tick_params(colors=MUTED, labelsize=7)
        axes.set_xlabel("x [m]", fontsize=8, color=MUTED)
    # The camera faces the robot: its right is -x, and what is near to it is at the bottom.
    panels[0][0].invert_xaxis()
    panels[0][0].invert_yaxis()
    panels[0][0].set_ylabel("y [m]", fontsize=8, color=MUTED)
    return svg_data(figure)


def render_episode(env: Any, episode: Episode, *, size: int, max_frames: int) -> np.ndarray:
    """Return pictures (F, size, size, 3) of an episode, evenly thinned to at most `max_frames`."""
    assert episode.sim_states is not None
    assert episode.sim_episode is not None
    num = min(max_frames, len(episode.sim_states))
    places = np.linspace(0, len(episode.sim_states) - 1, num).round().astype(int)
    frames: np.ndarray = env.render_states(
        episode.sim_states[places], episode.sim_episode, width=size, height=size
    )
    return frames


def beside(left: np.ndarray, right: np.ndarray, *, gap: int = 4) -> np.ndarray:
    """Return two clips as one, side by side; the shorter one holds its last picture."""
    length = max(len(left), len(right))

    def held(clip: np.ndarray) -> np.ndarray:
        return np.concatenate([clip, np.repeat(clip[-1:], length - len(clip), axis=0)])

    bar = np.full((length, left.shape[1], gap, 3), 255, np.uint8)
    return np.concatenate([held(left), bar, held(right)], axis=2)


def film_strip(frames: np.ndarray, num: int = 6) -> np.ndarray:
    """Return `num` evenly spaced pictures of a clip as one row."""
    places = np.linspace(0, len(frames) - 1, num).round().astype(int)
    return np.concatenate(list(frames[places]), axis=1)


def png_uri(picture: np.ndarray) -> str:
    """Return a picture (H, W, 3) as a data URI."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return _uri("image/png", buffer.getvalue())


def mp4_uri(data: bytes) -> str:
    """Return an MP4 as a data URI."""
    return _uri("video/mp4", data)


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
