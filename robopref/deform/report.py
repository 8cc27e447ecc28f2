"""The report of a run: one HTML file that needs nothing beside it."""

from pathlib import Path
from typing import Any

import numpy as np

from robopref.align import figures
from robopref.align.page import render
from robopref.config import to_dict, write_text_atomically
from robopref.deform.evaluate import DeformEvaluation, qualities_of
from robopref.deform.loop import EVALUATED, DeformLoop
from robopref.deform.pictures import BAD, GOOD, MIDDLE, arrows_of, strip, top_view
from robopref.preferences.candidates import levels_of
from robopref.preferences.preference import Preference
from robopref.preferences.query import ActionCandidate
from robopref.preferences.ranking import Answer
from robopref.tracker import find_figures, read_metrics

NAMES = {
    "supervised": ("supervised", "cloned from the demonstrations; any of its candidates"),
    "aligned": ("aligned", "the best-scored candidate of the tuned and the cloned policy"),
    "demonstrations": ("demonstrator", "the scripted rule, on starts of its own"),
}
NUM_STARTS = 2
NUM_ASKED = 8
STEP_PX, ASKED_PX = 150, 260


def write_report(loop: DeformLoop) -> Path:
    """Write `report.html` into the run's folder and return its path."""
    path = loop.directory / "report.html"
    page = render("deform.html", _Report(loop).context(), folder=Path(__file__).parent)
    write_text_atomically(path, page)
    return path


class _Report:
    def __init__(self, loop: DeformLoop) -> None:
        self.loop = loop
        self.config = loop.config
        self.env = loop.env
        self.found = {name: loop.evaluate_policy(name) for name in EVALUATED}
        self.found["demonstrations"] = DeformEvaluation.from_dict(
            loop.run.figures("demonstrations")["evaluation"]
        )
        self.labels = loop.run.figures(f"rankings-{self.config.num_rounds}")

    def context(self) -> dict[str, Any]:
        return {
            "title": f"{self.config.num_states} rankings of candidates: {self.config.env}",
            "lead": self._lead(),
            "tiles": self._tiles(),
            "verdict": self._verdict(),
            "rows": [
                {"name": NAMES[name][0], "what": NAMES[name][1], "found": found}
                for name, found in self.found.items()
            ],
            "accounting": self._accounting(),
            "curves_svg": self._curves(),
            "curves_caption": (
                "Mean quality after each primitive; an episode that has ended stays as it is. "
                f"From {self.env.task.solved_at:g} on it counts as solved."
            ),
            "starts": self._starts(),
            "scale": [f"rgb{colour}" for colour in (BAD, MIDDLE, GOOD)],
            "asked": [self._asked_row(p) for p in self.loop.rankings().preferences()[:NUM_ASKED]],
            "asked_lead": self._asked_lead(),
            "learned": [self._learned(n) for n in range(1, self.config.num_rounds + 1)],
            "loss_svg": self._loss(),
            "stages": [
                {"name": name, "seconds": found["seconds"], "what": self._what(name, found)}
                for name, found in self.loop.run.stages.items()
            ],
            "tracked": find_figures(self.loop.directory),
            "next_commands": self._next(),
        }

    def _lead(self) -> str:
        return (
            f"{self.env.task_description} A policy was cloned from scripted demonstrations; a "
            "teacher ranked a few of its candidate primitives; what was learned from that chooses "
            "among candidates now."
        )

    def _tiles(self) -> list[dict[str, str]]:
        before, after = (self.found[name] for name in EVALUATED)
        values = {
            "quality at the end, supervised → aligned": (before.quality, after.quality, ".2f"),
            "solved": (before.success.value, after.success.value, ".2f"),
            "primitives until solved": (before.steps, after.steps, ".1f"),
        }
        tiles = [
            {"value": f"{first:{how}} → {second:{how}}", "label": label}
            for label, (first, second, how) in values.items()
        ]
        tiles.append({"value": str(self.labels["rankings"]), "label": "rankings asked for"})
        tiles.append({"value": f"{self.loop.run.seconds:.0f} s", "label": "from nothing to here"})
        return tiles

    def _verdict(self) -> dict[str, Any]:
        before, after = (self.found[name] for name in EVALUATED)
        worse = after.quality < before.quality
        if after.quality_low > before.quality_high:
            text = "Better: the quality at the end is above the one before, intervals apart."
        elif after.quality_high < before.quality_low:
            text = "Worse: the quality fell. Keep the supervised policy, and rank more candidates."
        elif worse:
            text = "Not clearly worse, but lower. More rankings or test episodes decide."
        else:
            text = "Not clearly better: the intervals overlap. More rankings or episodes decide."
        return {"text": text, "worse": worse}

    def _accounting(self) -> str:
        config = self.config
        states = self.loop.run.figures("base")["states"]
        return (
            f"Accounting: {config.num_demonstrations} demonstrations of {states} states in all, up "
            f"to {config.num_shown} good primitives each; {self.labels['rankings']} rankings of up "
            f"to {config.num_candidates} candidates, {self.labels['labels']} labels; "
            f"{config.num_test_episodes} test starts that nothing else saw, the same for both "
            "policies."
        )

    def _curves(self) -> str:
        curves = {
            NAMES[name][0]: (list(range(len(found.curve))), found.curve)
            for name, found in self.found.items()
        }
        return figures.curves_figure(curves, x="primitives", y="quality", is_share=True)

    def _starts(self) -> list[list[dict[str, Any]]]:
        """Return the strips of the first test starts, of both policies."""
        stores = {name: self.loop.store(f"evaluation/{name}") for name in EVALUATED}
        episodes = {name: {e.seed: e for e in store} for name, store in stores.items()}
        starts = []
        for seed in list(episodes["supervised"])[:NUM_STARTS]:
            strips = []
            for name in EVALUATED:
                episode = episodes[name][seed]
                qualities = qualities_of(episode, self.env)
                scored = name == "aligned"
                strips.append(
                    {
                        "name": NAMES[name][0],
                        "what": f"{len(episode)} primitives, {_end(episode)}",
                        "steps": strip(
                            self.env, episode, qualities, size=STEP_PX, shows_scores=scored
                        ),
                    }
                )
            starts.append(strips)
        return starts

    def _asked_lead(self) -> str:
        total = self.labels["rankings"]
        some = f" The first {NUM_ASKED} of {total} are shown." if total > NUM_ASKED else ""
        return (
            "Each answer puts candidates for one state in an order; here they have the colour of "
            f"their place in it, and the best is bold.{some}"
        )

    def _asked_row(self, preference: Preference) -> dict[str, str]:
        items = [item for item in preference.query.items if isinstance(item, ActionCandidate)]
        episode = self.loop.store("pool").episode(items[0].episode_id)
        candidates = np.array([item.action[0] for item in items])
        ranked = preference.ranking.answer is Answer.RANKED
        levels: list[float | None] = [float(level) for level in levels_of(preference.ranking)]
        scores = levels if ranked else [None] * len(items)
        best = preference.ranking.order[0][0] if ranked else None
        view = top_view(
            self.env, episode, items[0].step, size=ASKED_PX,
            arrows=arrows_of(candidates, scores, best),
        )  # fmt: skip
        said = f"{len(preference.ranking.order)} levels" if ranked else preference.ranking.answer
        caption = f"step {items[0].step}, {len(items)} candidates: {said}"
        return {"picture": figures.png_uri(view), "caption": caption}

    def _learned(self, number: int) -> dict[str, str]:
        run = self.loop.run
        weighed = run.figures(f"weights-{number}")
        return {
            "round": str(number),
            "rankings": str(run.figures(f"rankings-{number}")["rankings"]),
            **{
                name: _share(weighed.get(name))
                for name in ("implicit", "explicit", "likelihood", "combined")
            },
            "weights": " : ".join(f"{weight:.2f}" for weight in weighed["weights"]),
            "steps": f"{run.figures(f'tuned-{number}')['steps']:.0f}",
        }

    def _loss(self) -> str:
        rows = [
            row for row in read_metrics(self.loop.directory / "base" / "metrics.jsonl")
            if "loss" in row
        ]  # fmt: skip
        curve = ([row["step"] for row in rows], [row["loss"] for row in rows])
        return figures.curves_figure({"cloned": curve}, x="gradient step", y="denoising loss")

    def _what(self, name: str, found: dict[str, Any]) -> str:
        config, (stage, _, _) = self.config, name.partition("-")
        words = {
            "demonstrations": f"{config.num_demonstrations} episodes of the scripted rule",
            "base": "diffusion over primitives, cloned from them",
            "pool": f"{config.num_pool_episodes} episodes of the policy so far",
            "candidates": "candidates of the policy so far, at states of these episodes",
            "rankings": f"{found.get('rankings')} rankings by now",
            "tuned": f"a copy tuned on them by {to_dict(config)['method']['type']}",
            "outcomes": "tuned further on what came of performed primitives",
            "explicit": "an ensemble fitted to them",
            "weights": "how much each part of the combined reward is to count",
            "evaluation": f"{config.num_test_episodes} test episodes",
        }
        return words[stage]

    def _next(self) -> str:
        pool, db = self.loop.directory / "pool", self.loop.directory / "preferences.sqlite"
        lines = [
            "# Look at the ranked candidates, and rank them yourself",
            f"robopref label --data {pool} --db {db}",
            "# On the terminal",
            f"robopref answer --data {pool} --db {db}",
        ]
        return "\n".join(lines)


def _end(episode: Any) -> str:
    if episode.succeeded:
        return "solved"
    return "ended for want of progress" if "stopped" in episode.metadata else "not solved"


def _share(value: float | None) -> str:
    return "?" if value is None or np.isnan(value) else f"{value:.2f}"
