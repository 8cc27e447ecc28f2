"""What adapters share that draw pictures of simulator states."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import UInt8

from robopref.types import SimState


class DrawsStates:
    """Draws the current state as any other, and comes back to it after drawing others."""

    @abstractmethod
    def get_state(self) -> SimState:
        """Return everything needed to come back here, bit for bit."""

    @abstractmethod
    def set_state(self, state: SimState) -> Any:
        """Go to `state`; return its obs."""

    @abstractmethod
    def render_states(self, states: Any, episode: Any) -> Any:
        """Return pictures of simulator states; sizes and cameras have defaults."""

    def render(self) -> UInt8[np.ndarray, "H W 3"]:
        """Return a picture of the current state, 320 by 240."""
        state = self.get_state()
        picture: np.ndarray = self.render_states(state.step[None], state.episode)[0]
        return picture

    @contextmanager
    def _undisturbed(self, *, is_running: bool) -> Iterator[None]:
        """Come back to the running episode, if there is one, from where the block has gone."""
        running = self.get_state() if is_running else None
        try:
            yield
        finally:
            if running is not None:
                self._come_back(running)

    def _come_back(self, state: SimState) -> None:
        """Go to a state of the running episode, at which nobody looks."""
        self.set_state(state)
