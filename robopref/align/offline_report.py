"""The report of an alignment without a simulator: what is known, and how to measure the rest."""

from pathlib import Path
from typing import Any

from robopref.align import figures
from robopref.align.offline import OfflineAlignment
from robopref.align.page import render
from robopref.config import to_dict, write_text_atomically
from robopref.tracker import read_metrics


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
        "next_commands": deploy_command(alignment),
    }
    path = alignment.directory / "report.html"
    write_text_atomically(path, render("offline.html", context))
    return path


def deploy_command(alignment: OfflineAlignment) -> str:
    """Return the command that measures the policy on an arm, blind against the one before."""
    task = alignment.data.rows[0].env.partition("/")[2]
    return (
        f"robopref deploy --policy {alignment.directory}/aligned "
        f"--against {alignment.config.policy} --env arm/{task} --num-episodes 20"
    )


def _rows(found: dict[str, Any], guard: Any) -> list[dict[str, str]]:
    least, largest = f"more than {guard.least_accuracy:g}", f"at most {guard.largest_drift:g}"
    names = {
        "held_out_accuracy": ("held-out answers", least,
            "Share of answers that a reward fitted to the other answers foretells."),
        "implicit_accuracy": ("judged pairs", least,
            "Share of judged pairs whose better episode became likelier than the other."),
        "drift": ("drift", largest,
            "How much larger the denoising error on the recorded chunks became."),
    }  # fmt: skip
    return [
        {"name": name, "value": f"{found[key]:.2f}", "wanted": wanted, "what": what}
        for key, (name, wanted, what) in names.items()
    ]


def _losses(metrics: Path) -> str:
    rows = [row for row in read_metrics(metrics) if "loss" in row]
    curve = ([row["step"] for row in rows], [row["loss"] for row in rows])
    return figures.curves_figure({"fine-tuning": curve}, x="gradient step", y="loss")
