"""Routes around the labelling: progress, decisions, comparisons, queries, files in and out."""

import asyncio
import tempfile
from pathlib import Path as FilePath
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from robopref.labeling import replies_manage
from robopref.labeling.adding import add_queries
from robopref.labeling.desk import FAILURES, ADesk, Annotator
from robopref.labeling.exporting import EXPORTS
from robopref.labeling.messages import (
    Added,
    AdjudicationIn,
    ComparisonIn,
    Imported,
    Key,
    Plain,
    QueriesIn,
    RatingDecisionIn,
    Stored,
    Unblocked,
    Undone,
)

router = APIRouter(prefix="/api", responses=FAILURES)


@router.get("/progress", response_model=replies_manage.ProgressOut)
def progress(desk: ADesk, annotator: Annotator) -> Plain:
    """Return how far the labelling is."""
    trainer = {"state": "off", "message": "", "since_s": None}
    return {
        **desk.management.figures.progress(),
        "trainer": trainer if desk.trainer is None else desk.trainer.state(),
        "trouble": desk.service.trouble,
    }


@router.get("/adjudication", response_model=replies_manage.Disagreements)
def disagreements(
    desk: ADesk, annotator: Annotator, criterion: Annotated[Key | None, Query()] = None
) -> Plain:
    """Return the queries that annotators answered differently."""
    name = desk.service.check_criterion(criterion or desk.service.config.names[0])
    return {
        "queries": desk.management.adjudicator.disagreements(name),
        "ratings": desk.management.adjudicator.rating_disagreements(name),
    }


@router.post("/adjudication", response_model=Stored)
def adjudicate(body: AdjudicationIn, desk: ADesk, annotator: Annotator) -> Stored:
    """Decide a disagreement."""
    return Stored(new=desk.management.adjudicator.adjudicate(annotator, body))


@router.post("/adjudication/ratings", response_model=Stored)
def adjudicate_rating(body: RatingDecisionIn, desk: ADesk, annotator: Annotator) -> Stored:
    """Decide a disagreement about one clip."""
    return Stored(new=desk.management.adjudicator.adjudicate_rating(annotator, body))


@router.post("/adjudication/{decision}/undo", response_model=Undone)
def undo_decision(decision: UUID, desk: ADesk, annotator: Annotator) -> Undone:
    """Take one's own decision back."""
    desk.management.adjudicator.undo_decision(annotator, str(decision))
    return Undone()


@router.get("/comparison", response_model=replies_manage.Comparison)
def comparison(
    desk: ADesk, annotator: Annotator, reveal: Annotated[bool, Query()] = False
) -> Plain:
    """Return how policies compare; their names only where that is asked for."""
    return desk.management.figures.comparison(reveal=reveal)


@router.post("/comparison", response_model=Added)
def add_comparisons(body: ComparisonIn, desk: ADesk, annotator: Annotator) -> Added:
    """Ask for comparisons of policies, from equal starts; sent again with its id, only once."""
    return Added(ids=desk.management.add_comparisons(body))


@router.post("/queries", response_model=Added)
def ask(body: QueriesIn, desk: ADesk, annotator: Annotator) -> Added:
    """Add queries to be asked, all or none."""
    return Added(ids=add_queries(desk.service, body))


@router.post("/queries/{query}/unblock", response_model=Unblocked)
def unblock(
    query: Annotated[str, Path(max_length=200)], desk: ADesk, annotator: Annotator
) -> Unblocked:
    """Ask a query again that could not be shown."""
    return Unblocked(unblocked=desk.management.unblock(query))


@router.get("/export/{form}", response_class=FileResponse)
async def export(
    form: Literal["parquet", "jsonl", "chosen_rejected", "lerobot"],
    desk: ADesk, annotator: Annotator,
) -> FileResponse:  # fmt: skip
    """Return all answers as a file."""
    folder = tempfile.TemporaryDirectory(prefix="robopref-export")
    path = FilePath(folder.name) / f"preferences-{form}{EXPORTS[form]}"
    try:
        await asyncio.wrap_future(desk.management.exporter.submit(form, path))
    except BaseException:
        folder.cleanup()
        raise
    return FileResponse(
        path, filename=path.name, media_type="application/octet-stream",
        background=BackgroundTask(folder.cleanup),
    )  # fmt: skip


@router.post("/import/jsonl", response_model=Imported)
def import_jsonl(
    body: Annotated[bytes, Body(media_type="application/x-ndjson")],
    desk: ADesk, annotator: Annotator,
) -> Imported:  # fmt: skip
    """Add what the export of this form wrote, all or none."""
    with tempfile.TemporaryDirectory(prefix="robopref-import") as folder:
        path = FilePath(folder) / "preferences.jsonl"
        path.write_bytes(body)
        return Imported(new=desk.management.import_jsonl(path))
