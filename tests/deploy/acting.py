"""An expert and an operator for tests of sessions."""

import numpy as np

from robopref.align.actors import ScriptedSpec
from robopref.align.collect import Plan
from robopref.deploy.operator import Word
from robopref.deploy.session import make_turns
from robopref.envs.behaviours import DetourRightConfig
from robopref.hardware.keyboard import Keyboard

ENV = "arm/drawer-close-v3"


class Expert:
    """The package's expert, which thinks one step ahead only."""

    def __init__(self, env):
        self._actor = ScriptedSpec(DetourRightConfig()).build([env])

    def begin(self, seeds):
        self._actor.begin(seeds)

    def act(self, obs):
        return self._actor.act(obs)

    def act_chunk(self, obs):
        return np.repeat(self._actor.act(obs)[:, None], 4, axis=1)


class Script:
    """An operator who says each word after so many steps of all."""

    name = "ann"

    def __init__(self, words, presses=()):
        self.presses = dict(presses)
        self._waiting = dict(words)
        self._num = 0
        self.heard = []
        self.says = []
        self.device = Keyboard()

    def words(self):
        self._num += 1
        if self._num in self.presses:
            self.device.press(self.presses[self._num])
        return [self._waiting.pop(self._num)] if self._num in self._waiting else []

    def urgent(self):
        return None

    def show(self, status):
        self.seen = status

    def tell(self, text):
        self.heard.append(text)

    def wait_for(self, wanted):
        if self.says:
            return self.says.pop(0)
        return Word.GO if Word.GO in wanted else Word.QUIT


def make_turns_of(env, num_episodes=1, names=("expert",)):
    plans = [
        Plan(
            env=ENV, actor=ScriptedSpec(DetourRightConfig()), seed=0, start_set="test",
            num_episodes=num_episodes, group_size=1, max_episode_steps=150,
            metadata={"name": "deploy", "policy": name}, namespace=name,
        )
        for name in names
    ]  # fmt: skip
    return make_turns([(Expert(env), plan) for plan in plans], seed=0)
