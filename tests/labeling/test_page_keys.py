"""Every reason has a key, whatever kind of query it is given beside."""

import pytest

from robopref.labeling.config import MAX_TAGS
from tests.labeling.page_project import answer, press, serve_project, until

TAGS = tuple(f"reason {number}" for number in range(MAX_TAGS))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    with serve_project(tmp_path_factory.mktemp("project"), tags=TAGS) as project:
        yield project


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pair", "ranking", "candidates", "rating"])
def test_no_key_of_a_reason_means_something_else(project, pages, kind):
    project.forget()
    ask = {
        "pair": lambda: project.ask_clips(2), "ranking": lambda: project.ask_clips(3, length=12),
        "candidates": lambda: project.ask_actions(3), "rating": project.ask_rating,
    }  # fmt: skip
    ask[kind]()
    page = pages.open(project)
    assert page.evaluate("robopref.page.query.kind") == kind
    if kind == "candidates" and page.evaluate("robopref.page.judge.hasClips"):
        press(page, "v")
        until(page, "robopref.page.judge.stage !== undefined")
    keys = page.locator(".tags kbd").all_inner_texts()
    assert len(set(keys)) == MAX_TAGS
    taken = page.evaluate(
        """() => [...Object.keys(robopref.page.judge.keys), 'Z', 'X', 'N', 'Q', 'W', 'E', '?']"""
    )
    assert set(keys).isdisjoint(taken)
    press(page, *(key.lower() for key in keys))
    assert page.locator(".tags [aria-pressed=true]").count() == MAX_TAGS
    answer(page, "ArrowDown")
    stored = project.ratings if kind == "rating" else project.answers
    [details] = [row["details"] if kind == "rating" else row.details for row in stored]
    assert tuple(details["tags"]) == TAGS
