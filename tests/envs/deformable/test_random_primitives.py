"""Many random primitives a task: nothing breaks, tears or sinks."""

from typing import Any

import numpy as np
import pytest

from robopref.envs.deformable.granular import HALF_AXES_M
from robopref.envs.deformable.rope import LENGTH_M, NUM_VERTICES
from robopref.envs.make import make_env


@pytest.mark.slow
@pytest.mark.parametrize(("task", "num"), [("rope-circle-v0", 100), ("granular-T-v0", 20)])
def test_random_primitives_keep_the_material_whole(task, num, rng):
    env: Any = make_env(f"deformable/{task}", max_episode_steps=num)
    env.reset(seed=0)
    for step in range(num):
        if step % 20 == 0:
            env.task.start(env.np_random)
        begin = env.task.material()[rng.integers(len(env.task.material()))].clip(-0.4, 0.4)
        action = np.array([*begin, *rng.uniform(-0.3, 0.3, 2), 0.0], np.float32)
        env.perform(action)
        material = env.task.material()
        assert np.isfinite(material).all()
        assert material[:, 2].min() > 0
        if task.startswith("rope"):
            edges = np.linalg.norm(material - np.roll(material, -1, axis=0), axis=1)
            assert np.percentile(edges, 95) <= 1.06 * LENGTH_M / NUM_VERTICES
        else:
            assert material[:, 2].max() < 20 * HALF_AXES_M[0]
    env.close()
