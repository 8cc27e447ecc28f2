"""The Python of the documentation runs, page by page, as far as it stands by itself."""

import doctest
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from robopref.data.episode import Episode
from robopref.data.store import EpisodeStore
from robopref.seeding import derive_uuid
from robopref.types import STATE

DOCS = Path(__file__).parents[1] / "docs"
CAMERAS = pytest.param(
    "hardware/cameras.md",
    marks=pytest.mark.skipif(find_spec("robosuite") is None, reason="its arms are not installed"),
)


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)


@pytest.fixture
def reach(tmp_path, monkeypatch):
    """Stand in a folder with the data set that the pages speak of, but shorter."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    store = EpisodeStore.create(Path("runs/reach"), fps=80)
    for number in range(3):
        store.add(
            Episode(
                id=derive_uuid(0, "docs", number),
                obs={STATE: rng.standard_normal((61, 39)).astype(np.float32)},
                action=rng.uniform(-1, 1, (60, 4)).astype(np.float32),
                reward=np.zeros(60, np.float32), success=np.zeros(60, bool), terminated=False,
                truncated=True, env="metaworld/reach-v3", task="reach", seed=number, fps=80.0,
            )
        )  # fmt: skip
    return store


@pytest.mark.slow
@pytest.mark.parametrize("page", ["data.md", "environments.md", CAMERAS])
def test_a_page_runs_from_top_to_bottom(page, reach):
    namespace = {"__name__": "docs"}
    for number, block in enumerate(blocks(page)):
        exec(compile(block, f"{page}, block {number}", "exec"), namespace)


def test_what_the_pages_show_at_the_prompt_is_so():
    shown = [block for block in blocks("preferences.md") if block.startswith(">>>")]
    assert shown
    for block in shown:
        test = doctest.DocTestParser().get_doctest(block, {}, "preferences.md", None, 0)
        assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed == 0
