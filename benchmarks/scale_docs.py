"""Put what work costs, and what the laws of it predict, into docs/scale.md.

`robopref bench scale_costs --json benchmarks/results/scale_costs.json` measures, and
`python -m benchmarks.scale_docs` fills what stands between `<!-- begin NAME -->` and
`<!-- end NAME -->`; the words around are written by hand.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cost_model import Law, Prediction
from benchmarks.pages import fill_page
from benchmarks.scale_costs import Row, laws

PAGE = Path("docs/scale.md")
RESULTS = Path("benchmarks/results/scale_costs.json")
UNITS = {"seconds": "s", "gb": "GB"}
BEYOND = 10
"""How many times the largest size that was measured the table predicts."""
WORKERS = (1, 2, 4, 8, 16, 32, 64)


def main() -> None:
    """Fill the page from the last results."""
    rows = json.loads(RESULTS.read_text())["costs"]
    fill_page(PAGE, {"costs": costs(rows), "workers": workers(rows)})


def costs(rows: Sequence[Row]) -> str:
    """Return the law of each cost, what it was fitted on, and what it predicts beyond."""
    lines = [
        "| work | measured | cost | error at most | largest measured | predicted |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, law in laws(rows).items():
        task, what, of = _parts(name)
        far = BEYOND * law.largest
        lines.append(
            f"| {task} | {law.smallest:,.0f} to {law.largest:,.0f} {of}, {law.num} times "
            f"| {_formula(law, UNITS[what], of)} | {law.error:.0%} "
            f"| {_said(law.predict(law.largest), UNITS[what])} "
            f"| {_said(law.predict(far), UNITS[what])} for {far:,.0f} |"
        )
    return "\n".join(lines)


def workers(rows: Sequence[Row]) -> str:
    """Return how many times as fast shared work is by more workers, and what of that is known."""
    lines = ["| workers | times as fast as one | |", "| --- | --- | --- |"]
    for name, law in laws(rows).items():
        _, what, of = _parts(name)
        if (what, of) != ("seconds", "workers"):
            continue
        for num in WORKERS:
            gain = law.gain(num)
            how = f"predicted from 1 to {law.largest:.0f}" if gain.is_beyond else "measured range"
            lines.append(f"| {num} | {_said(gain, '')} | {how} |")
    return "\n".join(lines)


def _parts(name: str) -> tuple[str, str, str]:
    task, _, rest = name.rpartition(", ")
    what, _, of = rest.partition(" by ")
    return task, what, of


def _formula(law: Law, unit: str, of: str) -> str:
    shown = {"1": "", "n": f" · {of}", "1/n": f" / {of}", "n - 1": f" · ({of} less 1)"}
    parts = [
        f"{value:.3g} {unit}{shown[term]}"
        for term, value in zip(law.terms, law.coefficients, strict=True)
        if value > 0
    ]
    return " + ".join(parts)


def _said(found: Prediction, unit: str) -> str:
    return f"{found.value:.3g} {unit} ({found.low:.3g} to {found.high:.3g})".replace("  ", " ")


if __name__ == "__main__":
    main()
