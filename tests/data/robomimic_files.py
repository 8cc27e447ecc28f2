"""Writes robomimic's HDF5 files as its documentation describes them."""

import json

import h5py
import numpy as np

SIZES = {"object": 10, "robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2}
ENV_ARGS = {"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 20}}


def write_like_robomimic(path, *, num=12, next_obs=True):
    """Write a file in the layout of robomimic's documentation, with `num` demonstrations."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(ENV_ARGS)
        data.attrs["total"] = sum(5 + i for i in range(num))
        for i in range(num):
            n = 5 + i
            demo = data.create_group(f"demo_{i}")
            demo.attrs["num_samples"] = n
            demo.attrs["model_file"] = f"<mujoco model='{i}'/>"
            demo["actions"] = np.full((n, 7), i, np.float64)
            demo["rewards"] = np.eye(n)[-1]
            demo["dones"] = np.eye(n)[-1].astype(np.int64)
            demo["states"] = rng.normal(size=(n, 32))
            for key, size in SIZES.items():
                values = rng.normal(size=(n + 1, size))
                demo[f"obs/{key}"] = values[:-1]
                if next_obs:
                    demo[f"next_obs/{key}"] = values[1:]
        names = [f"demo_{i}" for i in range(num)]
        file["mask/train"] = np.array(names[::2], "S")
