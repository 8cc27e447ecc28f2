"""The imitation library in a process of its own environment, `.venv-imitation` (`make peers`)."""

import json
import subprocess
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv-imitation" / "bin" / "python"


class Imitation:
    """Its reward ensemble: asked to train or to choose, it answers with the seconds it took.

    Args:
        shape: `num_members`, `hidden_sizes`, segment `length`, `obs_dim`, `action_dim` and
            `batch_size`.
    """

    def __init__(self, shape: dict[str, Any]) -> None:
        self._shape = shape

    @staticmethod
    def is_there() -> bool:
        """Return whether the environment was built."""
        return PYTHON.exists()

    def __enter__(self) -> "Imitation":
        """Start it and wait until it is ready."""
        shape = json.dumps({**self._shape, "threads": torch.get_num_threads()})
        self._process = subprocess.Popen(
            [str(PYTHON), str(ROOT / "benchmarks" / "imitation_ensemble.py"), shape],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.about = self._read()
        return self

    def __exit__(self, *exception: object) -> None:
        """End it."""
        self._process.communicate()

    def train(self, num_pairs: int) -> float:
        """Return the seconds in which it trains on `num_pairs` pairs."""
        return self._ask({"train": num_pairs})

    def choose(self, num_chosen: int, num_pairs: int) -> float:
        """Return the seconds in which it chooses pairs among `num_pairs` of random segments."""
        return self._ask({"choose": num_chosen, "among": num_pairs})

    def _ask(self, request: dict[str, int]) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        seconds: float = self._read()
        return seconds

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("The imitation library's process ended early. Try 'make peers'.")
        return json.loads(line)
