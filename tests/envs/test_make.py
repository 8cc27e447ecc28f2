"""Tests for make.py: what a user sees who mistypes."""

import pytest

from robopref.envs import ENVS
from robopref.envs.make import make_env, make_vector
from robopref.errors import ConfigError, UnknownNameError


def test_a_spec_without_a_slash():
    with pytest.raises(ValueError) as error:
        make_env("reach-v3")
    assert str(error.value) == (
        f"`env` must read '<name>/<task>', got 'reach-v3'. Names: {ENVS.names()}, "
        "for example 'metaworld/reach-v3'."
    )


def test_unknown_simulator():
    with pytest.raises(UnknownNameError) as error:
        make_env("metaword/reach-v3")
    assert str(error.value) == (
        f"No environment named 'metaword'. Did you mean 'metaworld'? Registered: {ENVS.names()}."
    )


def test_unknown_option():
    with pytest.raises(ConfigError) as error:
        make_env("metaworld/reach-v3", max_episode_step=3)
    assert str(error.value) == (
        "MetaWorldConfig has no field 'max_episode_step'. Did you mean 'max_episode_steps'? "
        "Fields: ['max_episode_steps', 'task', 'terminate_on_success']."
    )


def test_a_vector_of_none():
    with pytest.raises(ValueError) as error:
        make_vector("metaworld/reach-v3", 0)
    assert str(error.value) == "`num_envs` must be at least 1, got 0."
