"""Routes of an annotator's work: sign in, the next query, answers, and taking them back."""

import asyncio
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from robopref import __version__
from robopref.labeling import replies
from robopref.labeling.config import KINDS
from robopref.labeling.desk import (
    FAILURES,
    ADesk,
    Annotator,
    Believed,
    check_speaker,
    failure,
)
from robopref.labeling.messages import (
    AnswerIn,
    NextIn,
    Plain,
    RatingIn,
    Released,
    Renewed,
    Signed,
    SignIn,
    Stored,
)
from robopref.labeling.sessions import LIFE_S

router = APIRouter(prefix="/api", responses=FAILURES)


@router.get("/project", response_model=replies.Project)
def project(request: Request, desk: ADesk) -> Plain:
    """Return what is asked here, and who is signed in."""
    config = desk.service.config
    return {
        "title": config.title,
        "annotator": desk.sessions.find(request.cookies.get(desk.cookie)),
        "needs_token": desk.sessions.needs_token,
        "criteria": [{"name": c.name, "question": c.question} for c in config.criteria],
        "tags": list(config.tags),
        "kinds": list(KINDS),
        "settings": {
            "strength_default": 2,
            "show_reward_lane": config.show_reward_lane,
            "lease_s": config.lease_s,
            "overlap": config.overlap,
            "codec": desk.service.clips.codec.name,
        },
        "version": __version__,
    }


@router.post("/session", response_model=Signed)
async def sign_in(body: SignIn, request: Request, desk: ADesk) -> Response:
    """Sign in under a name; the answer sets a cookie. After a wrong token, the next one waits."""
    address = request.client.host if request.client else ""
    wait_s = desk.sessions.throttle.wait_s(address)
    if wait_s is None:
        return failure(429, "too-many", "Too many wrong tokens came from there; wait a little.")
    await asyncio.sleep(wait_s)
    if not desk.sessions.admits(body.token):
        desk.sessions.throttle.wrong(address)
        return failure(403, "wrong-token", "The token is not the one of this server.")
    key = await run_in_threadpool(desk.sessions.open, body.annotator)
    answer = Response(
        Signed(annotator=body.annotator).model_dump_json(), media_type="application/json"
    )
    answer.set_cookie(
        desk.cookie, key, max_age=int(LIFE_S), httponly=True, samesite="strict",
        secure=_is_encrypted(request),
    )  # fmt: skip
    return answer


@router.delete("/session", response_model=Signed)
def sign_out(
    request: Request, response: Response, desk: ADesk, believed: Believed = None
) -> Signed:
    """Sign out."""
    key = request.cookies.get(desk.cookie, "")
    name = desk.sessions.find(key)
    if name is not None:
        check_speaker(name, believed)
    desk.sessions.close(key)
    response.delete_cookie(desk.cookie)
    return Signed(annotator=None)


@router.post("/next", response_model=replies.Asked | replies.Nothing)
def next_query(body: NextIn, desk: ADesk, annotator: Annotator) -> Response:
    """Return what to judge next, with a lease on it; or why there is nothing."""
    # As it is: checking it against its model takes as long as finding it.
    return JSONResponse(desk.service.next(annotator, body.criterion, body.kinds))


@router.post("/leases/{lease}/renew", response_model=Renewed)
def renew(lease: UUID, desk: ADesk, annotator: Annotator) -> Renewed:
    """Keep a query for longer."""
    return Renewed(expires_s=desk.service.assignment.renew(str(lease), annotator))


@router.delete("/leases/{lease}", response_model=Released)
def release(lease: UUID, desk: ADesk, annotator: Annotator) -> Released:
    """Give a query back."""
    return Released(released=desk.service.assignment.release(str(lease), annotator))


@router.post("/answers", response_model=Stored)
def answer(body: AnswerIn, desk: ADesk, annotator: Annotator) -> Stored:
    """Keep an answer; when this returns, it is on disk. Sent again, it is stored once."""
    return Stored(new=desk.service.take_answer(annotator, body).new)


@router.post("/ratings", response_model=Stored)
def rate(body: RatingIn, desk: ADesk, annotator: Annotator) -> Stored:
    """Keep a rating; when this returns, it is on disk. Sent again, it is stored once."""
    return Stored(new=desk.service.take_rating(annotator, body).new)


@router.post("/answers/{answer}/undo", response_model=replies.Asked)
def undo(answer: UUID, desk: ADesk, annotator: Annotator) -> Plain:
    """Take one's own answer or rating back; return its query with a fresh lease."""
    return desk.service.undo(annotator, answer)


@router.get("/answers/mine", response_model=replies.Own, response_model_exclude_unset=True)
def mine(
    desk: ADesk, annotator: Annotator, limit: Annotated[int, Query(ge=1, le=1000)] = 50
) -> Plain:
    """Return one's own answers and ratings, newest first."""
    return {"answers": desk.service.answers.mine(annotator, limit)}


def _is_encrypted(request: Request) -> bool:
    """Return whether the browser came by https, be it to a proxy that passes it on without.

    Its page's origin, which the guard has found to be this server's, tells so by itself.
    """
    return "https" in (request.url.scheme, request.headers.get("origin", "").partition(":")[0])
