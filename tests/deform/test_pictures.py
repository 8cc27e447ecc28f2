import numpy as np
import pytest

from robopref.data.episode import Episode
from robopref.deform.pictures import BAD, GOOD, SHOWN_M, arrows_of, colour_of, top_view
from robopref.envs.deformable.clouds import is_colored
from robopref.types import POINTS

SIZE = 120


@pytest.fixture
def episode(env, state):
    return Episode(
        "0", {POINTS: np.zeros((2, 8, 3), np.float32)}, np.zeros((1, 6), np.float32),
        np.zeros(1, np.float32), np.zeros(1, bool), False, True, env.env_id, "", 0, 0.5,
        sim_states=np.stack([state.step, state.step]), sim_episode=state.episode,
    )  # fmt: skip


def test_an_arrow_lies_where_the_material_is_seen(env, episode):
    """The pixels at the vertices' places are the rope's: the projection is the camera's."""
    view = top_view(env, episode, 0, size=SIZE)
    vertices = env.task.material()
    columns, rows = (SIZE / 2 * (1 + s * vertices[:, i] / SHOWN_M) for i, s in ((0, 1), (1, -1)))
    seen = is_colored(view)[rows.astype(int), columns.astype(int)]
    assert seen.mean() > 0.95
    assert is_colored(view).mean() < 0.2


def test_an_arrow_is_drawn_from_its_first_point_to_its_second(env, episode):
    action = np.array([[-0.3, 0.3, 0.0, 0.3, 0.3, 0.0]])
    plain, drawn = (
        top_view(env, episode, 0, size=SIZE, arrows=arrows)
        for arrows in ((), arrows_of(action, [1.0], 0))
    )
    rows, columns = np.nonzero((plain != drawn).any(axis=-1))
    x, y = (columns / SIZE * 2 - 1) * SHOWN_M, (1 - rows / SIZE * 2) * SHOWN_M
    assert x.min() == pytest.approx(-0.3, abs=0.03)
    assert x.max() == pytest.approx(0.3, abs=0.03)
    assert np.abs(y - 0.3).max() < 0.05


def test_colours_say_the_order_and_the_chosen_one_is_on_top():
    candidates = np.arange(24, dtype=float).reshape(4, 6)
    arrows = arrows_of(candidates, [3.0, 1.0, None, 2.0], 1)
    assert [tuple(arrow["points"].ravel()) for arrow in arrows][-1] == (6, 7, 9, 10)
    colours = {arrow["points"][0, 0]: arrow["colour"] for arrow in arrows}
    assert colours[0] == GOOD
    assert colours[6] == BAD
    assert colours[18] == colour_of(0.5)
    assert colours[12] not in (GOOD, BAD, colour_of(0.5))
