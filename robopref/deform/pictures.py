"""The table seen from above, with the candidates of a decision drawn as arrows.

Shapes: N candidates, T primitives, H W picture.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from robopref.align.figures import png_uri
from robopref.data.episode import Episode
from robopref.deform.actors import DECISIONS

EYE_M = 1.2
"""Height of the camera above the table [m], as the environments have it."""
SHOWN_M = 0.36
"""Half of the table's side that is shown [m]."""
BAD, MIDDLE, GOOD = (197, 48, 48), (221, 160, 40), (47, 133, 90)
_REFUSED = (150, 155, 160)
_UNSCORED = (43, 108, 176)
_INK = (31, 41, 51)
_FINER = 2
"""Lines are drawn so many times as large, and made smaller, which makes them smooth."""


def colour_of(share: float) -> tuple[int, int, int]:
    """Return the colour of a score, from 0 for the worst candidate to 1 for the best."""
    channels = zip(BAD, MIDDLE, GOOD, strict=True)
    red, green, blue = (round(float(np.interp(share, (0, 0.5, 1), c))) for c in channels)
    return red, green, blue


def top_view(
    env: Any, episode: Episode, step: int, *, size: int, arrows: Sequence[Mapping[str, Any]] = ()
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """Return the table at a step of an episode.

    Args:
        env: Draws it.
        episode: Holds simulator states.
        step: Which.
        size: Width and height [pixels].
        arrows: As `arrows_of` returns them; the last ones lie on top.
    """
    from PIL import Image, ImageDraw

    state = episode.sim_state(step)
    half_m = EYE_M * np.tan(np.radians(float(env.task.sim.model.vis.global_.fovy) / 2))
    whole = _FINER * round(size * half_m / SHOWN_M)
    (seen,) = env.render_states(
        state.step[None], state.episode, width=whole, height=whole, camera="top"
    )
    margin = (whole - _FINER * size) // 2
    picture = Image.fromarray(seen[margin:, margin:][: _FINER * size, : _FINER * size])
    draw = ImageDraw.Draw(picture)
    for arrow in arrows:
        start, end = (
            (_FINER * size / 2) * (1 + np.array([x, -y]) / SHOWN_M) for x, y in arrow["points"]
        )
        _draw_arrow(draw, start, end, arrow["colour"], 6 if arrow["is_chosen"] else 3)
    return np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS))


def _draw_arrow(
    draw: Any, start: np.ndarray, end: np.ndarray, colour: tuple[int, int, int], width: int
) -> None:
    along = (end - start) / max(float(np.linalg.norm(end - start)), 1e-6)
    across = np.array([-along[1], along[0]])
    tip = 3.0 * width
    head = [end, end - tip * along + 0.55 * tip * across, end - tip * along - 0.55 * tip * across]
    shapes = ((width + 3, _INK), (width, colour)) if width > 4 else ((width, colour),)
    for thick, fill in shapes:
        draw.line([tuple(start), tuple(end - 0.7 * tip * along)], fill=fill, width=thick)
    draw.polygon(
        [tuple(corner) for corner in head], fill=colour, outline=_INK if width > 4 else None
    )
    radius = 0.8 * width
    draw.ellipse([*(start - radius), *(start + radius)], fill=colour)


def arrows_of(
    candidates: Float[np.ndarray, "N 6"], scores: Sequence[float | None], chosen: int | None
) -> list[dict[str, Any]]:
    """Return candidates as arrows from first to second point, the chosen one last.

    Args:
        candidates: Points of primitives [m].
        scores: How good each is held to be; None for what cannot be performed, which is grey.
        chosen: Which was performed, if one was.
    """
    places = np.array([np.nan if score is None else score for score in scores], float)
    order = np.argsort(np.argsort(np.nan_to_num(places, nan=-np.inf), kind="stable"))
    worst = int(np.isnan(places).sum())
    ranks = (order - worst) / max(len(places) - worst - 1, 1)
    arrows = [
        {
            "points": candidate.reshape(2, 3)[:, :2],
            "colour": _REFUSED if np.isnan(place) else colour_of(rank),
            "is_chosen": index == chosen, "rank": rank,
        }
        for index, (candidate, place, rank) in enumerate(
            zip(candidates, places, ranks, strict=True)
        )
    ]  # fmt: skip
    return sorted(arrows, key=lambda arrow: (arrow["is_chosen"], arrow["rank"]))


def strip(
    env: Any, episode: Episode, qualities: Sequence[float], *, size: int, shows_scores: bool
) -> list[dict[str, str]]:
    """Return a picture of every step, with what was chosen among what, and its quality in words.

    Args:
        env: Draws.
        episode: Of a policy that chose among candidates.
        qualities: Before each primitive and at the end.
        size: Of a picture [pixels].
        shows_scores: Draw all candidates in the colour of their scores; else the chosen one.
    """
    pictures = []
    decisions = episode.metadata.get(DECISIONS, [])
    for step, quality in enumerate(qualities):
        arrows = []
        if step < len(episode) and step < len(decisions):
            found = decisions[step]
            arrows = arrows_of(np.array(found["candidates"]), found["scores"], int(found["chosen"]))
            arrows = arrows if shows_scores else [{**arrows[-1], "colour": _UNSCORED}]
        view = top_view(env, episode, step, size=size, arrows=arrows)
        pictures.append({"picture": png_uri(view), "caption": f"{step}: {quality:.2f}"})
    return pictures
