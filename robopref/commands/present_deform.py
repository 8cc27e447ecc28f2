"""What the commands around DeformPAM's loop print, and how people are reached who rank for it."""

import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robopref.commands import following

if TYPE_CHECKING:
    from robopref.deform.evaluate import DeformEvaluation
    from robopref.workers import Workers


def run_deform(config: Any, directory: Path, workers: "Workers") -> None:
    """Run DeformPAM's loop in `directory`, write its report, and print what came out."""
    from robopref.commands.present import how_to_reach
    from robopref.deform.loop import DeformLoop
    from robopref.deform.rankings import REASON
    from robopref.deform.report import write_report
    from robopref.ranks import get_ranks

    with workers:
        say = functools.partial(print, file=sys.stderr, flush=True)
        person = how_to_reach(config, directory, REASON)
        loop = DeformLoop(config, directory, workers, person=person, announce=say)
        found = loop.execute()
        report = get_ranks().on_main(lambda: write_report(loop))
    print_evaluations(found)
    print(f"\n{loop.run.seconds:.0f} s of work, {config.num_states} rankings.")
    print(f"Report: {report}")
    db = directory / "preferences.sqlite"
    print(f"Next:   {following.command('label', '--data', directory / 'pool', '--db', db)}")


def print_evaluations(found: "Mapping[str, DeformEvaluation]") -> None:
    """Print one row for each who acts: quality at the end, solved, primitives until solved."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("who acts", "quality at the end", "solved", "primitives"):
        table.add_column(name, justify="left" if name == "who acts" else "right")
    for name, row in found.items():
        quality = f"{row.quality:.2f} [{row.quality_low:.2f}, {row.quality_high:.2f}]"
        table.add_row(name, quality, str(row.success), f"{row.steps:.1f}")
    Console().print(table)
