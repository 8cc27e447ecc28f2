"""Outcomes of candidates on disk: what was tried once in a state is not simulated again.

Shapes: N candidates, Ds size of the simulator state.
"""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from jaxtyping import Float

from robopref.envs.deformable import trials
from robopref.envs.deformable.trials import Outcomes, Trials
from robopref.types import SimState

_METADATA = sa.MetaData()
_OUTCOMES = sa.Table(
    "outcomes", _METADATA,
    sa.Column("key", sa.String, primary_key=True), sa.Column("quality", sa.Float, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
    sa.Column("problem", sa.String, nullable=False),
)  # fmt: skip


@dataclass
class CachedTrials(Trials):
    """Trials whose outcomes are kept in a SQLite file, which several processes may share.

    Args:
        config: The environment that candidates are tried in.
        workers: Who tries them, running.
        path: The file; None keeps nothing.
    """

    path: Path | None = None

    def __post_init__(self) -> None:
        """Open the file."""
        self.num_tried = 0
        """Candidates that were simulated, since nobody had tried them."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = sa.create_engine(f"sqlite:///{self.path}", connect_args={"timeout": 60})
        _METADATA.create_all(self._engine)

    def outcomes(self, state: SimState, actions: Float[np.ndarray, "N 6"]) -> Outcomes:
        """Return what comes of each action in `state`; only what nobody tried is simulated."""
        if self.path is None:
            self.num_tried += len(actions)
            return super().outcomes(state, actions)
        keys = [self._key(state, action) for action in actions]
        known = self._known(keys)
        new = [place for place, key in enumerate(keys) if key not in known]
        if new:
            self.num_tried += len(new)
            found = super().outcomes(state, actions[new])
            rows = zip(found.qualities, found.states, found.problems, strict=True)
            known |= {
                keys[place]: (float(quality), after, problem)
                for place, (quality, after, problem) in zip(new, rows, strict=True)
            }
            self._keep({keys[place]: known[keys[place]] for place in new})
        qualities, states, problems = zip(*(known[key] for key in keys), strict=True)
        return Outcomes(np.array(qualities), np.stack(states), list(problems))

    def _known(self, keys: list[str]) -> dict[str, tuple[float, np.ndarray, str]]:
        wanted = sa.select(_OUTCOMES).where(_OUTCOMES.c.key.in_(keys))
        with self._engine.connect() as connection:
            rows = connection.execute(wanted).all()
        return {row.key: (row.quality, np.frombuffer(row.state), row.problem) for row in rows}

    def _keep(self, found: dict[str, tuple[float, np.ndarray, str]]) -> None:
        rows = [
            {"key": key, "quality": quality, "state": after.tobytes(), "problem": problem}
            for key, (quality, after, problem) in found.items()
        ]
        # Another process may have tried the same meanwhile, and found the same.
        with self._engine.begin() as connection:
            connection.execute(sa.insert(_OUTCOMES).prefix_with("OR IGNORE"), rows)

    def _key(self, state: SimState, action: np.ndarray) -> str:
        digest = hashlib.sha256(f"{_physics()}{self.config!r}".encode())
        for part in (state.step, state.episode, np.asarray(action, np.float32)):
            digest.update(part.tobytes())
        return digest.hexdigest()


@functools.cache
def _physics() -> str:
    """Return a digest of the code that simulates: other code has other outcomes."""
    digest = hashlib.sha256()
    for path in sorted(Path(trials.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
