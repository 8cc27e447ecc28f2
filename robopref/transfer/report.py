"""The report of a transfer: one HTML file that needs nothing beside it."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from robopref.align import figures
from robopref.align.page import render
from robopref.config import write_text_atomically
from robopref.data.segment import Segment
from robopref.data.video import encode_mp4
from robopref.envs.scene import Scene, read_scene
from robopref.errors import DataError, MissingExtraError
from robopref.rewards.transfer import have_features
from robopref.transfer import pictures
from robopref.transfer.accuracy import Accuracy
from robopref.transfer.correspondence import Correspondence, liked_features, vote_correlations
from robopref.transfer.film import Film
from robopref.transfer.loading import Loaded
from robopref.transfer.verdict import NAMES
from robopref.transfer.workflow import OF_REWARDS, Outcome, by_rewards
from robopref.types import STATE

NUM_CLIPS = 4
CLIP_SIZE = 200
MOST_FRAMES = 24
"""Pictures of a clip; a segment is thinned to these."""
CLIP_SECONDS = 3.0
ON_TILES = ("wrong_way", "agreement", "meaning")
"""Figures that stand out; the table below has all."""
FEWEST_CALIBRATED = 30
"""Pairs, below which a share in each bin of confidence says nothing."""


def write_report(path: Path, outcome: Outcome, next_commands: str) -> None:
    """Write the report of a transfer to `path`."""
    context = _Report(outcome).context() | {"next_commands": next_commands}
    page = render("transfer.html", context, folder=Path(__file__).parent)
    write_text_atomically(path, page)


def diagnosis_rows(outcome: Outcome) -> list[dict[str, str]]:
    """Return name, value and meaning of each figure that needs no truth."""
    rows = []
    for key, value in outcome.diagnosis.items():
        name, what = NAMES.get(key, (key.replace("_", " "), ""))
        shown = "not known" if math.isnan(value) else f"{value:.2f}"
        rows.append({"name": name, "value": shown, "what": what})
    return rows


def accuracy_row(each: Accuracy) -> dict[str, str]:
    """Return the figures of a method as text; those that too few pairs leave open as a dash."""
    enough = each.num >= FEWEST_CALIBRATED
    low, high = each.interval.low, each.interval.high
    # Pairs of segments that all stand in many pairs are not independent: no interval for those.
    interval = "" if each.truth == OF_REWARDS else f" [{low:.2f}, {high:.2f}]"
    return {
        "method": each.method,
        "truth": each.truth.removeprefix("the "),
        "num": f"{each.num:,}",
        "accuracy": f"{each.accuracy:.2f}{interval}",
        "brier": f"{each.brier:.3f}",
        "ece": f"{each.ece:.2f}" if enough else "-",
        "coverage": f"{each.coverage_at_90:.0%}" if enough else "-",
    }


class _Report:
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.source = outcome.sources[0]
        self.target = outcome.target
        self.found = outcome.transferred
        self.correspondence = Correspondence.of(self.source.task, self.target.task, self.found)

    def context(self) -> dict[str, Any]:
        upper = np.triu_indices(len(self.target.task), 1)
        known = self.found.weight[upper] > 0
        liked = liked_features(self.source.task, self.correspondence, self.target.task)
        return {
            **self._clips(),
            **self._calibration(),
            "title": f"Preferences carried over to {Path(self.target.name).name}",
            "lead": self._lead(),
            "tiles": self._tiles(),
            "verdict": self.outcome.verdict,
            "diagnosis": diagnosis_rows(self.outcome),
            "votes_svg": pictures.votes_figure(vote_correlations(self.found)),
            "num_votes": len(self.found.votes),
            "measured": [
                accuracy_row(each) | {"is_own": each.method == self.outcome.method}
                for each in self.outcome.measured
            ],
            "notes": self.outcome.notes,
            "confidence_svg": pictures.confidence_figure(self.found.preferred[upper][known]),
            "correspondence_svg": pictures.correspondence_figure(
                self.correspondence.sorted_weight(), by_plan=self.correspondence.by_plan
            ),
            "correspondence_text": self._correspondence_text(),
            "features_svg": pictures.features_figure(liked) if liked else "",
            "source": self.source.name,
            "target": self.target.name,
        }

    def _lead(self) -> str:
        sources = ", ".join(source.name for source in self.outcome.sources)
        num = sum(len(source.preferences) for source in self.outcome.sources)
        own = len(self.target.preferences)
        helped = f", helped by {own} answers about the target itself" if own else ""
        return (
            f"{num} answers about {sources} order {len(self.target.segments)} segments of "
            f"{self.target.name} by “{self.outcome.method}”{helped}."
        )

    def _tiles(self) -> list[dict[str, str]]:
        measured = [
            {"value": f"{each.accuracy:.2f}", "label": f"accuracy by {each.truth}"}
            for each in self.outcome.own
        ]
        return measured + [
            {"value": row["value"], "label": row["name"]}
            for row in diagnosis_rows(self.outcome)
            if row["name"] in [NAMES[key][0] for key in ON_TILES]
        ]

    def _correspondence_text(self) -> str:
        of = f"Segments of {self.source.name} against those of {self.target.name}."
        if self.correspondence.by_plan:
            return f"{of} The mass that the alignment moves from one to the other."
        return (
            f"{of} This method aligns nothing; shown is how close their features are. A dark "
            "diagonal says that good segments of both tasks look alike."
        )

    def _calibration(self) -> dict[str, str]:
        truth = by_rewards(self.outcome.sources, self.target)[0]
        if truth is not None:
            probability, is_b = truth.foretold(self.found)
            if len(probability) >= FEWEST_CALIBRATED:
                figure = pictures.calibration_figure(probability, is_b)
                return {"calibration_svg": figure, "calibrated_by": truth.name}
        return {"calibration_svg": "", "calibrated_by": ""}

    def _clips(self) -> dict[str, Any]:
        matches = self.correspondence.matches(min(NUM_CLIPS, len(self.target.segments)))
        try:
            with _film(self.source) as left, _film(self.target) as right:
                clips = [self._clip(left, right, *match) for match in matches]
        except (DataError, MissingExtraError) as error:  # Better plain paths than no report.
            drawn = matches if have_features((self.source.task, self.target.task)) else []
            return {"clips": [self._paths(*match) for match in drawn], "no_clips": str(error)}
        return {"clips": clips, "no_clips": ""}

    def _paths(self, i: int, j: int) -> dict[str, Any]:
        sides = (self.source, self.source.segments[i]), (self.target, self.target.segments[j])
        drawn = [pictures.scene_figure(_scene(task, segment)) for task, segment in sides]
        return {"paths": drawn, **self._places(i, j)}

    def _places(self, i: int, j: int) -> dict[str, str]:
        return {
            "source": _place("source", self.correspondence.source_score, i),
            "target": _place("target", self.correspondence.target_score, j),
        }

    def _clip(self, left: Film, right: Film, i: int, j: int) -> dict[str, Any]:
        frames = figures.beside(
            left.frames(self.source.segments[i]), right.frames(self.target.segments[j])
        )
        return {
            "video": figures.mp4_uri(encode_mp4(frames, fps=len(frames) / CLIP_SECONDS)),
            "poster": figures.png_uri(frames[len(frames) // 2]),
            **self._places(i, j),
        }


def _film(task: Loaded) -> Film:
    return Film(task.episodes, size=CLIP_SIZE, num_frames=MOST_FRAMES)


def _scene(task: Loaded, segment: Segment) -> Scene:
    episode = task.episodes.episode(segment.episode_id)
    return read_scene(episode.env, episode.obs[STATE])[
        segment.start : segment.start + segment.length + 1
    ]


def _place(name: str, score: np.ndarray, index: int) -> str:
    rank = int((score > score[index]).sum()) + 1
    return f"{name}: place {rank} of {len(score)}"
