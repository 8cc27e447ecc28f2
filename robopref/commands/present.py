"""What several commands print: evaluations as a table, and a run of the loop."""

import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robopref.align.evaluate import MIN_SUCCESSES, Evaluation
from robopref.config import resolve

if TYPE_CHECKING:
    from robopref.data.store import EpisodeStore
    from robopref.preferences.query import Query
    from robopref.preferences.terminal import Person
    from robopref.preferences.web import WebTeacherConfig
    from robopref.workers import Workers


FEW = "too few successes"
"""What stands in the place of a preferred rate that would say nothing."""


def print_evaluations(evaluations: Mapping[str, Evaluation]) -> None:
    """Print one row a policy: success, and preferred and joint rate where a behaviour is preferred.

    The rates have intervals. Where none is preferred, the mean return stands in their place.
    """
    from rich.console import Console
    from rich.table import Table

    prefers = any(evaluation.joint.num for evaluation in evaluations.values())
    table = Table(box=None, pad_edge=False)
    table.add_column("policy")
    for name in ("success", *(("preferred", "joint") if prefers else ("mean return",))):
        table.add_column(name, justify="right")
    for policy, evaluation in evaluations.items():
        table.add_row(policy, *_cells(evaluation, prefers))
    Console().print(table)
    if prefers and any(not evaluation.preferred.num for evaluation in evaluations.values()):
        print(f"The preferred rate is that of the successes, of which it takes {MIN_SUCCESSES}.")


def _cells(evaluation: Evaluation, prefers: bool) -> list[str]:
    """Return success and the other figures in words, and why one is not there."""
    success, preferred = evaluation.success, evaluation.preferred
    known = str(success) if success.num else "not known"
    if not prefers:
        return [known, f"{evaluation.return_mean:.4g}"]
    return [known, str(preferred) if preferred.num else FEW, str(evaluation.joint)]


def run_loop(config: Any, directory: Path, workers: "Workers") -> None:
    """Run the alignment loop in `directory`, write its report, and print what came out."""
    from robopref.align.loop import AlignmentLoop
    from robopref.align.report import write_report
    from robopref.align.report_text import verdict
    from robopref.ranks import get_ranks

    with workers:
        person = how_to_reach(config, directory, resolve(config, "behaviour").question)
        say = functools.partial(print, file=sys.stderr, flush=True)
        loop = AlignmentLoop(config, directory, workers, person=person, announce=say)
        evaluations = loop.execute()
        report = get_ranks().on_main(lambda: write_report(loop))
    print_evaluations(evaluations)
    print(f"\n{verdict(loop, evaluations).text}")
    print(f"{loop.run.seconds:.0f} s of work, {config.num_labels} answers.")
    print(f"Report: {report}")


def how_to_reach(config: Any, directory: Path, question: str) -> "Callable[[EpisodeStore], Person]":
    """Return how the people are reached who are the teacher of a run, given its episodes."""
    from robopref.preferences.web import WebTeacherConfig

    teacher = resolve(config, "teacher")
    if isinstance(teacher, WebTeacherConfig):
        return functools.partial(
            reach_browsers, directory=directory, question=question, teacher=teacher
        )
    return functools.partial(reach_person, directory=directory, question=question)


def reach_browsers(
    episodes: "EpisodeStore", *, directory: Path, question: str, teacher: "WebTeacherConfig"
) -> "Person":
    """Return how to wait for people at browsers; their server ends with this program."""
    import atexit

    from robopref.labeling.config import Criterion
    from robopref.labeling.people import People, PeopleConfig
    from robopref.preferences.terminal import Person

    config = PeopleConfig(
        data=episodes.root, db=directory / "preferences.sqlite", out=directory / "label",
        criterion=Criterion(teacher.criterion, question), annotator=teacher.annotator,
    )  # fmt: skip
    people = People(config, functools.partial(print, file=sys.stderr, flush=True))
    atexit.register(people.close)
    return Person(lambda query: None, lambda prompt: None, people.wait)


def reach_person(episodes: "EpisodeStore", *, directory: Path, question: str) -> "Person":
    """Return how the person at the terminal is shown a query and asked for a line."""
    from robopref.commands.answer import read_line
    from robopref.labeling.clips import ClipMaker
    from robopref.preferences.terminal import Person

    clips = ClipMaker(episodes, directory / "clips", width=320, height=240)

    def show(query: "Query") -> None:
        print(f"\n{question} ({query.reason})")
        for place, path in enumerate(clips.write(query), start=1):
            print(f"  {place}: {path}")

    return Person(show, read_line)
