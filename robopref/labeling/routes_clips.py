"""Routes of what a query shows: clips, curves under them, point clouds."""

import asyncio
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from starlette.concurrency import run_in_threadpool

from robopref.labeling import replies
from robopref.labeling.clips import ClipQuery
from robopref.labeling.desk import FAILURES, ADesk, Annotator, failure
from robopref.labeling.messages import Plain
from robopref.labeling.refusals import UnknownError
from robopref.labeling.service import LabelService
from robopref.labeling.worker import ClipError

WAIT_S = 30.0
"""How long a request waits for its clip to be drawn [s]; then it is to be repeated."""
FOREVER = "private, max-age=31536000, immutable"

QueryId = Annotated[str, Path(max_length=200)]
Index = Annotated[int, Path(ge=0, le=10_000)]

router = APIRouter(prefix="/api", responses=FAILURES)


@router.get("/clips/{query}/{item}/{name}", response_class=FileResponse)
async def clip(
    query: QueryId, item: Index, name: Annotated[str, Path(max_length=200)], desk: ADesk,
    annotator: Annotator, request: Request,
) -> Response:  # fmt: skip
    """Return a clip once it is drawn; parts of it by Range."""
    camera, dot, ending = name.rpartition(".")
    clips = desk.service.clips
    if not camera or dot + ending != clips.codec.suffix:
        return failure(404, "unknown", f"Clips here end in '{clips.codec.suffix}'.")
    shown = await run_in_threadpool(_find, desk.service, query, item, camera)
    try:
        future = await run_in_threadpool(clips.request, shown, item, camera, urgent=True)
        await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), WAIT_S)
        path = await run_in_threadpool(clips.path, shown, item, camera)
    except TimeoutError:
        return failure(503, "being-drawn", "The clip is still being drawn.")
    except ClipError as error:
        if not error.passing:
            await run_in_threadpool(desk.service.block, query, str(error))
        raise
    if path is None:
        return failure(503, "being-drawn", "The clip was cleared away meanwhile.")
    tag = f'"{path.stem}"'
    headers = {"cache-control": FOREVER, "etag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return FileResponse(path, headers=headers, media_type=clips.codec.media_type)


@router.get("/clips/{query}/{item}/{camera}/status", response_model=replies.ClipState)
def clip_status(
    query: QueryId, item: Index, camera: Annotated[str, Path(max_length=200)], desk: ADesk,
    annotator: Annotator,
) -> Plain:  # fmt: skip
    """Return how a clip stands; a query whose clip cannot be drawn is asked of nobody."""
    clips = desk.service.clips
    camera = camera.removesuffix(clips.codec.suffix)
    shown = _find(desk.service, query, item, camera)
    state = clips.state(shown, item, camera)
    if state.startswith("failed"):
        desk.service.block(query, state.removeprefix("failed: "))
    return {"state": state}


@router.get("/queries/{query}/clips", response_model=replies.AheadOut)
def clips_of(query: QueryId, desk: ADesk, annotator: Annotator) -> Plain:
    """Return where the clips of a query are, without having them drawn."""
    return desk.service.presenter.find_clips(desk.service.query(query))


@router.get("/lanes/{query}/{item}", response_model=replies.Lanes)
def lanes(query: QueryId, item: Index, desk: ADesk, annotator: Annotator) -> Plain:
    """Return the curves under a clip."""
    found = desk.service.clips.lanes(desk.service.query(query), item)
    return {"lanes": [asdict(lane) for lane in found]}


@router.get(
    "/clouds/{query}",
    responses={200: {"model": replies.CloudMeta, "content": {"application/octet-stream": {}}}},
)
def cloud(
    query: QueryId, desk: ADesk, annotator: Annotator,
    meta: Annotated[bool, Query()] = False,
) -> Response:  # fmt: skip
    """Return a point cloud: float32 positions, then uint8 colours; or with meta=1 the rest."""
    found = desk.service.clips.cloud(desk.service.query(query))
    if meta:
        return JSONResponse(found.meta())
    return Response(found.content(), media_type="application/octet-stream")


def _find(service: LabelService, query_id: str, item: int, camera: str) -> ClipQuery:
    """Return a query if it has this clip."""
    query = service.query(query_id)
    views = service.clips.describe(query)
    if item >= len(views) or camera not in views[item].cameras:
        raise UnknownError(f"No camera '{camera}' shows item {item} of this query.")
    return query
