"""The background trainer: a child process that refits the reward, and what the server knows of it.

Of several servers on one database one trains: whoever has the turn says so in the database, again
and again; when it has been silent for a while, another takes over.
"""

import contextlib
import json
import logging
import multiprocessing
import os
import signal
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from robopref.errors import DataError
from robopref.labeling.queue import read_meta, write_meta
from robopref.labeling.training import Refitter
from robopref.labeling.training_config import TrainerConfig
from robopref.preferences.database import Database
from robopref.preferences.store import PreferenceStore

TROUBLE = (
    "The data set or the preference store cannot be used now; the server's log says why. It is "
    "tried again before long."
)
"""What annotators are told, who need not know where these are."""
TURN = "label_trainer"
"""Where in the database it says who trains, and how that goes."""
LOOK_S = 1.0
"""Time between two looks at what was answered [s]."""
BEAT_S = 5.0
"""Time after which who trains says so again [s]."""
SILENT_S = 120.0
"""Silence after which another takes over [s]; a fit is silent while it lasts."""
FIRST_CLIPS_S = 4.0
"""Time that is left to the first clips, which somebody waits for, before it starts [s]."""
FOLLOW_S = 2.0
"""Time between two looks at the trainer [s]."""
RESTARTS = 3
"""Times that a trainer which died is started again; given back when it has fitted a reward."""
RETRY_S, LONGEST_RETRY_S = 2.0, 60.0
"""Time after which what could not be read or written is tried again, doubled up to a bound [s]."""

Plain = dict[str, Any]

log = logging.getLogger(__name__)


class Trainer:
    """Runs the trainer of a server, and starts it again when it dies.

    Args:
        config: How it trains.
        database: Of the preference store.
        on_reward: Called with the folder of each reward that was fitted.
    """

    def __init__(
        self, config: TrainerConfig, database: Database, on_reward: Callable[[Path], None]
    ) -> None:
        self._config = config
        self._database = database
        self._on_reward = on_reward
        self._context = multiprocessing.get_context("spawn")
        self._stop = self._context.Event()
        self._process: Any = None
        self._num_starts = 0
        self._watch = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "Trainer":
        """Start the child process before long, and follow what it does."""
        self._watch.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """End the child process; a fit that is under way is given up."""
        self._stop.set()
        self._watch.join()
        if self._process is None:
            return
        self._process.join(2.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def state(self) -> Plain:
        """Return how the training goes: its state, a message, and since when."""
        if self._has_given_up():
            message = f"The trainer ended {self._num_starts} times; see the server's log."
            return {"state": "failed", "message": message, "since_s": None}
        found = read_turn(self._database)
        return {
            "state": found.get("state", "waiting"), "message": found.get("message", "Starting."),
            "since_s": found.get("since_s"),
        }  # fmt: skip

    def _follow(self) -> None:
        """Start a trainer that died again, and tell of each new reward."""
        known, is_first = None, True
        if self._stop.wait(FIRST_CLIPS_S):
            return
        self._start()
        while not self._stop.wait(FOLLOW_S):
            if not self._process.is_alive() and not self._has_given_up():
                self._start()
            try:
                folder = read_turn(self._database).get("reward")
            except DataError as error:
                log.warning("%s", error)
                continue
            if folder != known and folder is not None:
                known = folder
                self._on_reward(Path(folder))
                if not is_first:  # One that was there before proves nothing.
                    self._num_starts = 1
            is_first = False

    def _has_given_up(self) -> bool:
        return self._num_starts > RESTARTS and not self._process.is_alive()

    def _start(self) -> None:
        self._num_starts += 1
        self._process = self._context.Process(
            target=run_trainer, args=(self._config, self._stop, os.getpid()), daemon=True
        )
        self._process.start()


def read_turn(database: Database) -> Plain:
    """Return what the database says of who trains."""
    with database.reading() as connection:
        text = read_meta(connection, TURN)
    return dict(json.loads(text)) if text else {}


def run_trainer(config: TrainerConfig, stop: Any, parent: int) -> None:
    """Train until told to stop, or until the server is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends it
    os.nice(10)
    keep_training(config, stop, lambda: os.getppid() == parent)


def keep_training(config: TrainerConfig, stop: Any, is_wanted: Callable[[], bool]) -> None:
    """Train while it is wanted; what cannot be read or written now is waited for.

    A data set that is not mounted, a full disk or a store that is held by another program is no
    fault of the trainer: it says so, lets go of all, and tries again later.
    """
    wait_s = RETRY_S
    while not stop.is_set() and is_wanted():
        try:
            with PreferenceStore(config.db, create=False) as store, _taking_turns(store) as turn:
                for _ in _looks(config, turn, stop, is_wanted):
                    wait_s = RETRY_S
        except (DataError, OSError) as error:
            log.warning("The trainer waits %.0f s: %s", wait_s, error)
            stop.wait(wait_s)
            wait_s = min(2 * wait_s, LONGEST_RETRY_S)


@contextlib.contextmanager
def _taking_turns(store: PreferenceStore) -> "Iterator[Turn]":
    """Yield a turn that says what went wrong in the block, and is given up at its end."""
    turn = Turn(store.database)
    try:
        yield turn
    except (DataError, OSError):
        if turn.take():
            turn.say("waiting", TROUBLE)
        raise
    except Exception as error:
        turn.say("failed", "".join(traceback.format_exception_only(error)).strip())
        raise
    finally:
        turn.leave()


def _looks(
    config: TrainerConfig, turn: "Turn", stop: Any, is_wanted: Callable[[], bool]
) -> Iterator[None]:
    """Look again and again at what was answered; yield after each look without trouble."""
    with contextlib.closing(Refitter(config)) as refitter:
        while not stop.is_set() and is_wanted():
            if turn.take():
                look(refitter, turn)
            yield
            stop.wait(LOOK_S)


def look(refitter: Refitter, turn: "Turn") -> None:
    """Make queries where few are left, then refit what is due."""
    for criterion in refitter.config.project.names:
        # Before anything slow: people wait for them.
        if refitter.refill(criterion):
            turn.say("waiting", f"Made queries by '{criterion}'.")
    for criterion in refitter.config.project.names:
        if refitter.is_due(criterion):
            turn.say("fitting", f"Fitting the reward by '{criterion}'.")
            figures = refitter.refit(criterion)
            if figures is not None:
                turn.say("waiting", f"Fitted by '{criterion}'.", reward=figures["reward"])
    turn.say("waiting", " ".join(refitter.problems()) or "Waiting for answers.")


class Turn:
    """Who of several trainers works, and what it says of it.

    Args:
        database: Of the preference store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._owner = str(uuid.uuid4())
        self._said: tuple[str, str] | None = None
        self._next_s = 0.0

    def take(self) -> bool:
        """Return whether it is this trainer's turn; it is while it says so in time."""
        found = read_turn(self._database)
        if found.get("owner") == self._owner:
            return True
        if found.get("owner") and time.time() - found.get("beat_s", 0.0) < SILENT_S:
            return False
        self._write({"state": "waiting", "message": "Started.", "reward": found.get("reward")})
        return True

    def say(self, state: str, message: str, *, reward: str | None = None) -> None:
        """Keep how the training goes; the same again only now and then."""
        if (state, message) == self._said and time.monotonic() < self._next_s:
            return
        self._said, self._next_s = (state, message), time.monotonic() + BEAT_S
        known = read_turn(self._database).get("reward")
        self._write({"state": state, "message": message, "reward": reward or known})

    def leave(self) -> None:
        """Give up the turn; what was said stays."""
        found = read_turn(self._database)
        if found.get("owner") == self._owner:
            self._write(found | {"owner": ""})

    def _write(self, words: Plain) -> None:
        now = time.time()
        entry = {"owner": self._owner, "since_s": now} | words | {"beat_s": now}
        with self._database.writing() as connection:
            write_meta(connection, TURN, json.dumps(entry))
