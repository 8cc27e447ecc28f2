"""The report of a run: one HTML file that needs nothing beside it."""

from pathlib import Path
from typing import Any

from robopref.align import figures
from robopref.align.evaluate import measure_episode, uses_success
from robopref.align.loop import POLICIES_EVALUATED, AlignmentLoop
from robopref.align.page import render
from robopref.align.report_seen import seen_by_reward
from robopref.align.report_text import next_commands, of_policies, stage_rows, verdict
from robopref.config import to_dict, write_text_atomically
from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.data.video import encode_mp4
from robopref.envs.behaviour_envs import METAWORLD
from robopref.errors import MissingExtraError
from robopref.preferences.preference import Preference
from robopref.preferences.ranking import Answer
from robopref.tracker import find_figures, read_metrics

NAMES = {"base": "before", "selected": "best-of-N", "aligned": "after"}
NUM_CLIPS = 4
NUM_ASKED = 20
CLIP_SIZE = 200
STRIP_SIZE = 96


def write_report(loop: AlignmentLoop) -> Path:
    """Write `report.html` into the run's folder and return its path."""
    path = loop.directory / "report.html"
    write_text_atomically(path, render("report.html", _Report(loop).context()))
    return path


class _Report:
    def __init__(self, loop: AlignmentLoop) -> None:
        from robopref.envs.make import make_env

        self.loop = loop
        self.config = loop.config
        self.evaluations = loop.evaluations()
        self.episodes = {
            name: {e.seed: e for e in loop.store(f"evaluation/{name}")}
            for name in POLICIES_EVALUATED
        }
        self.pool = loop.store("pool")
        self.asks_demonstrations = any(r.metadata.get("name") != "pool" for r in self.pool.rows)
        self.behaviour = to_dict(self.config)["behaviour"]["type"]
        self.is_scripted = hasattr(loop.labels().teacher_config, "measure_returns")
        self._make_env = make_env

    def context(self) -> dict[str, Any]:
        env: Any = self._make_env(self.config.env)
        try:
            pictures = {
                "clips": self._clips(env), "asked": self._asked(env), "no_pictures": "",
                "seen": seen_by_reward(self.loop, self._told_apart(), env),
            }  # fmt: skip
        except MissingExtraError as error:  # A report without pictures is better than none.
            pictures = {
                "clips": [], "asked": self._asked(None), "no_pictures": str(error), "seen": None,
            }  # fmt: skip
        finally:
            env.close()
        return {
            **pictures,
            "title": f"{self.config.num_labels} answers: “{self.behaviour}” on {self.config.env}",
            "lead": self._lead(),
            "tiles": self._tiles(),
            "verdict": verdict(self.loop, self.evaluations)._asdict(),
            "measure_name": "mean measure",
            "rates": self._rates(),
            "accounting": self._accounting(),
            "rates_svg": figures.rates_figure(
                {NAMES[name]: vars(e) for name, e in self.evaluations.items()}
            ),
            "num_labels": self.config.num_labels,
            "knows_success": self.config.knows_success,
            "paths_svg": self._paths(),
            "asked_lead": self._asked_lead(),
            "loss_svg": self._losses(),
            "labels_svg": self._label_curve(),
            "reward_svg": self._rewards(),
            "stages": stage_rows(self.loop),
            "tracked": find_figures(self.loop.directory),
            "next_commands": next_commands(self.loop),
        }

    def _lead(self) -> str:
        source = "a data set of" if self.config.demonstrations is not None else "scripted"
        which = "these and of its episodes" if self.asks_demonstrations else "its episodes"
        lead = (
            f"A policy was cloned from {source} demonstrations. A teacher compared a few of "
            f"{which}; this is what became of it."
        )
        if self.is_scripted:
            return lead
        return (
            f"{lead} The teacher is a person; the rates below still count what “{self.behaviour}” "
            "means to the computer, which may not be what that person wanted."
        )

    def _tiles(self) -> list[dict[str, str]]:
        base, aligned = self.evaluations["base"], self.evaluations["aligned"]

        def arrow(name: str) -> str:
            before, after = getattr(base, name), getattr(aligned, name)
            texts = [f"{rate.value:.2f}" if rate.num else "?" for rate in (before, after)]
            return " → ".join(texts)

        return [
            {"value": arrow("preferred"), "label": "preferred rate, before → after"},
            {"value": arrow("success"), "label": "success, before → after"},
            {"value": arrow("joint"), "label": "joint rate, before → after"},
            {"value": str(self.config.num_labels), "label": "labels asked of the teacher"},
            {"value": f"{self.loop.run.seconds:.0f} s", "label": "from nothing to here"},
        ]

    def _rates(self) -> list[dict[str, Any]]:
        what = of_policies(self.loop)
        return [
            {
                "name": NAMES[name], "what": what[name],
                "rates": [e.success, e.preferred, e.joint],
                "measure": e.measure_mean, "length": e.length_mean,
            }
            for name, e in self.evaluations.items()
        ]  # fmt: skip

    def _accounting(self) -> str:
        config = self.config
        demonstrations = self.loop.run.figures("demonstrations")["episodes"]
        more = ""
        if self.loop.rounds.num_rounds:
            how = " with best-of-N" if self.loop.rounds.records_selected else ""
            more = f" and {config.num_selected_episodes} recorded{how} to fine-tune on"
        asked = ", asked about as well" if self.asks_demonstrations else ""
        return (
            f"Accounting: {config.num_labels} labels; {demonstrations} demonstrations{asked}; "
            f"{config.num_pool_episodes} unlabelled episodes of the policy for queries{more}; "
            f"the success signal was {'used' if uses_success(config) else 'not used'}. "
            f"{config.num_test_episodes} test starts that nothing else saw, the same for every "
            "policy."
        )

    def _clips(self, env: Any) -> list[dict[str, str]]:
        seeds = list(self.episodes["base"])[:NUM_CLIPS]
        return [self._clip(env, *(self.episodes[n][s] for n in ("base", "aligned"))) for s in seeds]

    def _clip(self, env: Any, before: Episode, after: Episode) -> dict[str, str]:
        clips = [
            figures.render_episode(env, e, size=CLIP_SIZE, max_frames=60) for e in (before, after)
        ]
        frames = figures.beside(*clips)
        return {
            "video": figures.mp4_uri(encode_mp4(frames, fps=20.0)),
            "poster": figures.png_uri(frames[len(frames) // 2]),
            "before": self._said(before),
            "after": self._said(after),
        }

    def _said(self, episode: Episode) -> str:
        shown = "shows it" if self._shows(episode) else "does not show it"
        if not self.config.knows_success:
            return shown
        return f"{'succeeds' if episode.succeeded else 'fails'}, {shown}"

    def _shows(self, episode: Episode) -> bool:
        behaviour = self.loop.behaviour
        return bool(behaviour.shows(measure_episode(behaviour, episode)))

    def _asked(self, env: Any) -> list[dict[str, Any]]:
        return [self._asked_row(env, p) for p in self.loop.labels().preferences()[:NUM_ASKED]]

    def _asked_row(self, env: Any, preference: Preference) -> dict[str, Any]:
        ranking = preference.ranking
        words = {Answer.SKIPPED: "skipped", Answer.INCOMPARABLE: "cannot tell"}
        best = set(ranking.order[0]) if ranking.order else set()
        tie = len(best) == ranking.num_items
        answer = "equal" if tie else f"the {'first' if 0 in best else 'second'}"
        items = [item for item in preference.query.items if isinstance(item, Segment)]
        return {
            "items": [
                {
                    "picture": "" if env is None else self._strip(env, item),
                    "episode": item.episode_id[:8], "best": i in best and not tie,
                }
                for i, item in enumerate(items)
            ],
            "answer": words.get(ranking.answer, answer),
            "reason": preference.query.reason,
        }  # fmt: skip

    def _strip(self, env: Any, segment: Segment) -> str:
        episode = self.pool.episode(segment.episode_id)
        frames = figures.render_episode(env, episode, size=STRIP_SIZE, max_frames=6)
        return figures.png_uri(figures.film_strip(frames, 6))

    def _asked_lead(self) -> str:
        who = (
            f"The teacher is a script that prefers “{self.behaviour}”"
            if self.is_scripted
            else f"The teacher is a person, who was asked “{self.loop.behaviour.question}”"
        )
        which = (
            "two demonstrations, or of two episodes of the cloned policy,"
            if self.asks_demonstrations
            else "two episodes of the cloned policy"
        )
        won = f"{who}; the outlined strip won.{self._asked_rest()}"
        return f"Each answer says which of {which} is better. {won}"

    def _asked_rest(self) -> str:
        num = len(self.loop.labels().preferences())
        return f" The first {NUM_ASKED} of {num} are shown." if num > NUM_ASKED else ""

    def _paths(self) -> str:
        """Plot the hand's way to the object; only Meta-World's states say where the hand is."""
        if not self.config.env.startswith(METAWORLD):
            return ""
        from robopref.envs.paths import approach

        groups = {
            NAMES[name]: [approach(e.state)[:, :2] for e in episodes.values()]
            for name, episodes in self.episodes.items()
        }
        return figures.paths_figure(groups)

    def _losses(self) -> str:
        curves = {}
        rounds = {f"rounds/{n}": f"round {n}" for n in range(1, self.loop.rounds.num_rounds + 1)}
        for part, name in {"base": "cloned", **rounds}.items():
            rows = [r for r in read_metrics(self.loop.directory / part / "metrics.jsonl")
                    if "loss" in r]  # fmt: skip
            if rows:
                curves[name] = ([r["step"] for r in rows], [r["loss"] for r in rows])
        return figures.curves_figure(curves, x="gradient step", y="denoising loss")

    def _label_curve(self) -> str:
        rows = self.loop.label_curve()
        curve = ([row["labels"] for row in rows], [row["pool_accuracy"] for row in rows])
        return figures.curves_figure(
            {"accuracy": curve}, x="answers", y="pairs ordered right", is_share=True
        )

    def _told_apart(self) -> dict[str, Episode]:
        """Return one episode of each kind, if there is one, by what it is."""
        base, aligned = (list(self.episodes[name].values()) for name in ("base", "aligned"))
        other = next((e for e in base if not self._shows(e)), base[0])
        wanted = next((e for e in aligned if self._shows(e)), aligned[0])
        return {f"before, {self._kind(other)}": other, f"after, {self._kind(wanted)}": wanted}

    def _rewards(self) -> str:
        from robopref.rewards.serialization import load_reward

        pair = self._told_apart()
        reward = load_reward(self.loop.directory / "reward")
        rows = self.loop.labels().rewards_along(reward, list(pair.values()))
        return figures.reward_figure(dict(zip(pair, rows, strict=True)))

    def _kind(self, episode: Episode) -> str:
        return "preferred" if self._shows(episode) else "not preferred"
