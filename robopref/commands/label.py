"""`robopref label`: people compare in a browser."""

import contextlib
import getpass
import hashlib
import threading
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from tyro.conf import UseAppendAction

from robopref.access import find_token
from robopref.commands import following
from robopref.config import component
from robopref.errors import check_name
from robopref.labeling.clip_jobs import ClipConfig
from robopref.labeling.config import TAGS, Criterion, LabelConfig
from robopref.preferences.names import check_name_text

if TYPE_CHECKING:
    from robopref.labeling.server import ServerConfig
    from robopref.labeling.training_config import TrainerConfig

NO_LEARNER = "none"


@dataclass(frozen=True)
class LabelCommand:
    """Compare clips of a data set in a browser, alone or with others.

    Every answer is on disk before it is acknowledged: stop and start again whenever you like. Other
    annotators open the same address, or the one of a second server on the same store. Where the
    store has no queries yet, some are drawn at random.

    Example:
        robopref label --data runs/reach
        robopref label --data runs/reach --criterion gentle fast --no-browser --stop-after 1
    """

    data: Path
    """Data set whose episodes are compared."""
    db: str | None = None
    """Preference store: a SQLite file, made if missing, or a URL like postgresql://user@host/name;
    None for preferences.sqlite in the data set's folder."""
    reward: Path | None = None
    """Run of a reward that chooses what to ask until one has been fitted to the answers."""
    learner: str = "mlp"
    """Reward that is fitted while people answer; "none" fits none."""
    strategy: Any = component("robopref.preferences:STRATEGIES", default="disagreement")
    """What is asked next."""
    refit_every: int = 10
    """Answers after which the reward is fitted anew."""
    criterion: tuple[str, ...] = ("overall",)
    """By what is judged, as `name`, `name=question` or `name=question|question about one clip`;
    several are asked one after the other."""
    tag: UseAppendAction[tuple[str, ...]] = ()
    """Reason that may be ticked, in the place of the usual ones, such as "smoother"."""
    title: str = "robopref"
    """What stands on top of the page."""
    overlap: int = 1
    """How many annotators answer each query."""
    lease: float = 120.0
    """How long a query is kept for who was shown it [s]."""
    gold_every: int = 15
    """After so many answers comes a query whose answer is known, if there is any; 0 for never."""
    repeat_every: int = 20
    """After so many answers one of them comes once more, turned around; 0 for never."""
    attention_every: int = 0
    """After so many answers comes one that says which key to press; 0 for never."""
    num_ahead: int = 2
    """Queries whose clips are drawn while one is answered."""
    show_reward_lane: bool = False
    """Draw the learned reward under each clip without being asked for it; that sways annotators."""
    segment_length: int | None = 50
    """Steps of a segment of the queries that are made; None compares whole episodes."""
    first_queries: int = 20
    """Queries that are made where none waits; 0 for none."""
    host: str = "127.0.0.1"
    """Address to listen at; any but this machine's own needs a token."""
    port: int = 8321
    """Port to listen at; 0 for any that is free."""
    token: str | None = None
    """What annotators must give to sign in; None takes it from the environment variable
    ROBOPREF_TOKEN, which other users of this machine cannot see."""
    allowed_host: UseAppendAction[tuple[str, ...]] = ()
    """Further name by which the server is called, such as that of a proxy with TLS before it."""
    no_browser: bool = False
    """Only print the address, and open no browser."""
    stop_after: float | None = None
    """Stop after so many seconds; None goes on until Ctrl-C."""
    out: Path | None = None
    """Folder for the clips, and for what is learned on the way; None for one in runs/label that
    belongs to the data set and the store."""
    seed: int = 0
    """Decides which queries are drawn."""
    clips: ClipConfig = field(default_factory=ClipConfig)
    """How clips are drawn and kept."""

    option_names: ClassVar[Mapping[str, str]] = {
        "allowed_hosts": "allowed-host", "cameras": "clips.cameras", "criteria": "criterion",
        "lease_s": "lease", "tags": "tag",
    }  # fmt: skip
    """Options whose values go by other names in the configs that are made of them."""

    def __post_init__(self) -> None:
        """Check that the settings go together, and that there is such a learner."""
        for tag in self.tag:
            check_name_text("tag", tag)
        self._settings()
        self._training()
        if self.learner != NO_LEARNER:
            from robopref.rewards import REWARDS

            check_name("reward", self.learner, [*REWARDS.names(), NO_LEARNER])

    def run(self) -> None:
        """Serve until Ctrl-C."""
        from robopref.data.schema import can_be_shown
        from robopref.data.store import EpisodeStore
        from robopref.labeling.background import Trainer
        from robopref.labeling.fitting_sizes import check_reward_fits
        from robopref.labeling.server import open_project, serve

        config, project = self._settings()
        if self.reward is not None:
            from robopref.align.actors import find_saved

            check_reward_fits(find_saved(self.reward, "reward"), EpisodeStore.open(self.data))
        with open_project(config, project) as service, contextlib.ExitStack() as stack:
            service.clips.reward = self.reward
            trainer = None
            # It asks about pairs of segments, which may be invisible where candidates have clouds.
            if self.learner != NO_LEARNER and can_be_shown(service.episodes.features):
                trainer = stack.enter_context(
                    Trainer(self._training(), service.store.database, service.show_reward)
                )
            serve(
                service, config, announce=self._announce, trainer=trainer,
                stop_after_s=self.stop_after,
            )  # fmt: skip
            labels = {name: service.store.num_labels(name) for name in project.names}
            decided = {name: service.store.num_decided(name) for name in project.names}
        for name, num in labels.items():
            ties = following.only_ties(num, decided[name])
            print(f"Labels by '{name}' in {config.db}: {num}.{ties}")
        steps = [
            following.train_reward(self.data, config.db, name)
            for name, num in decided.items()
            if num
        ]
        print("Next:   " + "\n        ".join(steps or [self._again()]))

    def _again(self) -> str:
        """Return how to go on labelling."""
        words = [] if self.db is None else ["--db", self.db]
        if self.criterion != ("overall",):
            words += ["--criterion", *self.criterion]
        if self.first_queries == 0:
            words += ["--first-queries", "0"]
        if self.learner == NO_LEARNER:
            words += ["--learner", NO_LEARNER]
        return following.command("label", "--data", self.data, *words)

    def _announce(self, address: str, _server: object) -> None:
        link = f"{address}?annotator={quote(getpass.getuser(), safe='')}"
        secret = "" if self._token is None else f"#token={quote(self._token, safe='')}"
        print(f"Label at {link}{secret}", flush=True)
        if secret:
            place = f"https://{self.allowed_host[0]}/" if self.allowed_host else address
            print(f"Others, who are asked for their name: {place}{secret}", flush=True)
        print("Ctrl-C stops; every answer is on disk already.", flush=True)
        if not self.no_browser:
            # Other users of the machine see what a browser is started with: no secret, unless
            # they see it already.
            opened = link if self.token is None else link + secret
            threading.Thread(target=webbrowser.open, args=(opened,), daemon=True).start()

    def _settings(self) -> "tuple[ServerConfig, LabelConfig]":
        from robopref.labeling.server import ServerConfig

        project = LabelConfig(
            title=self.title,
            criteria=tuple(Criterion.parse(text) for text in self.criterion),
            tags=self.tag or TAGS,
            overlap=self.overlap,
            lease_s=self.lease,
            gold_every=self.gold_every,
            repeat_every=self.repeat_every,
            attention_every=self.attention_every,
            num_ahead=self.num_ahead,
            show_reward_lane=self.show_reward_lane,
        )
        db = str(self.data / "preferences.sqlite") if self.db is None else self.db
        config = ServerConfig(
            data=self.data, db=db, out=self.out or self._own_folder(db), host=self.host,
            port=self.port, token=self._token, allowed_hosts=self.allowed_host,
            segment_length=self.segment_length, first_queries=self.first_queries, seed=self.seed,
            clips=self.clips,
        )  # fmt: skip
        return config, project

    @property
    def _token(self) -> str | None:
        return find_token(self.token)

    def _own_folder(self, db: str) -> Path:
        """Return a folder that projects of other data sets or stores do not write to."""
        data = self.data.resolve()
        store = db if "://" in db else str(Path(db).resolve())
        digest = hashlib.sha256(f"{data}\n{store}".encode()).hexdigest()
        return Path("runs/label") / f"{data.name}-{digest[:8]}"

    def _training(self) -> "TrainerConfig":
        from robopref.labeling.training_config import TrainerConfig

        config, project = self._settings()
        return TrainerConfig(
            data=self.data, db=config.db, out=config.out, project=project, learner=self.learner,
            strategy=self.strategy, refit_every=self.refit_every,
            segment_length=self.segment_length, reward=self.reward, seed=self.seed,
        )  # fmt: skip
