"""The whole loop from Python: change a setting, run it, read the figures."""

import sys
from dataclasses import replace
from pathlib import Path

from robopref.align.collect import Workers
from robopref.align.config import AlignConfig
from robopref.align.loop import AlignmentLoop
from robopref.align.report import write_report


def main(config: AlignConfig | None = None, out: Path = Path("runs/example")) -> float:
    """Return by how much the joint rate rose."""
    config = config or replace(AlignConfig(), behaviour="detour-left", num_labels=20)
    with Workers(config.num_workers) as workers:
        loop = AlignmentLoop(config, out, workers)
        evaluations = loop.execute()
        report = write_report(loop)
    for name, evaluation in evaluations.items():
        print(f"{name:9} success {evaluation.success}  joint {evaluation.joint}")
    print(f"Report: {report}")
    return evaluations["aligned"].joint.value - evaluations["base"].joint.value


if __name__ == "__main__":
    main()
    sys.exit(0)
