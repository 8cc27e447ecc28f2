"""The report of an alignment without a simulator: what is known, and how to measure the rest."""

import shlex
from pathlib import Path
from typing import Any, NamedTuple

from robopref.align import figures
from robopref.align.labels import FEWEST_TO_HOLD_OUT
from robopref.align.offline import OfflineAlignment
from robopref.align.page import render
from robopref.config import to_dict, write_text_atomically
from robopref.tracker import find_figures, read_metrics


def write_offline_report(alignment: OfflineAlignment) -> Path:
    """Write `report.html` into the run's folder and return its path."""
    config, run = alignment.config, alignment.run
    found = run.figures("aligned")
    rows = _rows(found, config.guard)
    labels = run.figures("labels")["labels"]
    context = {
        "title": f"{labels} labels on {len(alignment.data)} recorded episodes",
        "lead": (
            f"The policy {config.policy} was fine-tuned by {to_dict(config)['method']['type']} on "
            f"episodes of {config.data}, with a reward learned from {labels} labels."
        ),
        "tiles": [{"value": row["value"], "label": row["name"]} for row in rows],
        "reasons": found["reasons"],
        "kept_base": found["kept_base"],
        "rows": rows,
        "loss_svg": _losses(alignment.directory / "tuned" / "metrics.jsonl"),
        "tracked": find_figures(alignment.directory),
        "next": next_step(alignment),
    }
    path = alignment.directory / "report.html"
    write_text_atomically(path, render("offline.html", context))
    return path


class NextStep(NamedTuple):
    """What to do next: what there is to say of it, and the command, if it is one."""

    note: str
    command: str


def next_step(alignment: OfflineAlignment) -> NextStep:
    """Return how to measure the policy on an arm, blind against the one before.

    There is nothing to measure where the base was kept: both are the same then.
    """
    if alignment.run.figures("aligned")["kept_base"]:
        return NextStep(
            "The aligned policy is the base, so there is nothing to compare on a robot. Answer "
            "more queries: the same command with a larger --num-labels and another --out.",
            "",
        )
    env, note = _arm(alignment.data.rows[0].env)
    words = ["robopref", "deploy", "--policy", f"{alignment.directory}/aligned",
             "--against", str(alignment.config.policy), "--env", env,
             "--num-episodes", "20"]  # fmt: skip
    return NextStep(note, shlex.join(words))


def _arm(env: str) -> tuple[str, str]:
    """Return where an arm does what was recorded, and what to say where only the user knows."""
    adapter, _, task = env.partition("/")
    if adapter in ("arm", "real"):
        return env, ""
    if adapter == "metaworld":  # An arm does its tasks.
        return f"arm/{task}", ""
    of = f"are of {env}" if env else "do not say where they were recorded"
    return "real/CELL.yaml", (
        f"The episodes {of}: in place of CELL.yaml give the file that describes your robot's cell."
    )


def _rows(found: dict[str, Any], guard: Any) -> list[dict[str, str]]:
    least, largest = f"more than {guard.least_accuracy:g}", f"at most {guard.largest_drift:g}"
    names = {
        "held_out_accuracy": ("held-out answers", least,
            "Share of answers that a reward fitted to the other answers foretells."),
        "implicit_accuracy": ("judged pairs", least,
            "Share of the judged pairs whose better episode became likelier than the other. "
            + seen_by_training(found.get("held_out", 0))),
        "drift": ("drift", largest,
            "How much larger the denoising error on the recorded chunks became."),
    }  # fmt: skip
    return [
        {"name": name, "value": f"{found[key]:.2f}", "wanted": wanted, "what": what}
        for key, (name, wanted, what) in names.items()
    ]


def seen_by_training(held_out: int) -> str:
    """Return what the accuracy on judged pairs is worth, by how many answers were held out."""
    if held_out:
        return f"They are of {held_out} answers that nothing learned from."
    return (
        f"They were learned from: below {FEWEST_TO_HOLD_OUT} decided queries none is held out, so "
        "that this figure flatters a method that learns from the answers."
    )


def _losses(metrics: Path) -> str:
    rows = [row for row in read_metrics(metrics) if "loss" in row]
    curve = ([row["step"] for row in rows], [row["loss"] for row in rows])
    return figures.curves_figure({"fine-tuning": curve}, x="gradient step", y="loss")
