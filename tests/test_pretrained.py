"""Tests for pretrained.py: what policies and rewards share when they are saved and loaded.

The hub's client is huggingface_hub's own, from `push_to_hub` to the last byte; it talks to
`fake_hub` over HTTP. Nothing of ours or of the client is replaced.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from robopref.errors import CheckpointError
from robopref.policies.diffusion import DiffusionPolicy, DiffusionPolicyConfig
from robopref.policies.mlp_denoiser import MLPDenoiserConfig
from robopref.policies.serialization import load_policy
from robopref.rewards.mlp import MLPReward, MLPRewardConfig
from robopref.rewards.serialization import load_reward
from robopref.types import STATE


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of model: how to make a small one, how to load it, what it answers."""

    name: str
    model_class: Any
    make: Callable[..., Any]
    load: Callable[..., Any]
    use: Callable[[Any], torch.Tensor]
    misspelt_type: str
    """The registered name of what `make` makes, misspelt."""


def make_policy(width=32, seed=0):
    config = DiffusionPolicyConfig(denoiser=MLPDenoiserConfig(width=width, num_blocks=1))
    return config.build({STATE: (3,)}, 2, torch.Generator().manual_seed(seed)).eval()


def use_policy(policy):
    obs = {STATE: torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(3))}
    return policy.sample(obs, 3, torch.Generator().manual_seed(1))


def make_reward(width=8, seed=0):
    config = MLPRewardConfig(num_members=2, hidden_sizes=(width,), n_action_steps=2)
    return config.build(3, 2, generator=torch.Generator().manual_seed(seed)).eval()


def use_reward(reward):
    generator = torch.Generator().manual_seed(3)
    obs = {STATE: torch.randn(4, 2, 3, generator=generator)}
    return reward.score(obs, torch.randn(4, 5, 2, 2, generator=generator))


POLICY = Kind("policy", DiffusionPolicy, make_policy, load_policy, use_policy, "difusion")
REWARD = Kind("reward", MLPReward, make_reward, load_reward, use_reward, "mpl")


@pytest.fixture(params=[POLICY, REWARD], ids=lambda kind: kind.name)
def kind(request):
    return request.param


@pytest.fixture
def saved(kind, tmp_path):
    """Return the folder of a saved model."""
    kind.make().save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def message_of(load, source, error_class: type[Exception] = CheckpointError):
    with pytest.raises(error_class) as error:
        load(source)
    return str(error.value)


def edit(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_pushed_model_comes_back_the_same(kind, hub):
    model = kind.make()
    model.push_to_hub("someone/toy", token="hf_of_nobody")
    assert {path.name for path in (hub / "someone" / "toy").iterdir()} == {
        "config.json", "model.safetensors", "README.md",
    }  # fmt: skip
    card = (hub / "someone" / "toy" / "README.md").read_text()
    assert "library_name: robopref" in card
    assert f"import load_{kind.name}" in card
    for load in (kind.load, kind.model_class.from_pretrained):
        again = load("someone/toy")
        assert again.config == model.config
        assert not again.training
        assert torch.equal(kind.use(again), kind.use(model))


def test_what_is_not_on_the_hub(kind, hub):
    assert message_of(kind.load, "someone/none", FileNotFoundError) == (
        f"No {kind.name} at 'someone/none': there is no such folder, and no such repository on "
        "the hub could be read."
    )
    kind.make().push_to_hub("someone/toy", token="hf_of_nobody")
    (hub / "someone" / "toy" / "model.safetensors").unlink()
    assert message_of(kind.load, "someone/toy") == (
        f"'someone/toy' holds no {kind.name}: 'model.safetensors' is missing."
    )


def test_a_hub_that_is_not_reached(kind, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert message_of(kind.load, "someone/toy", FileNotFoundError) == (
        f"No {kind.name} at 'someone/toy': there is no such folder, and no such repository on the "
        "hub could be read."
    )


def test_a_missing_folder_is_not_looked_for_on_the_hub(kind, hub, tmp_path, monkeypatch):
    kind.make().push_to_hub("someone/toy", token="hf_of_nobody")
    monkeypatch.chdir(tmp_path)
    message = message_of(kind.load, Path("someone/toy"), FileNotFoundError)
    assert message == f"No {kind.name} at 'someone/toy'."
    assert message_of(kind.load, str(tmp_path / "none"), FileNotFoundError) == (
        f"No {kind.name} at '{tmp_path}/none': there is no such folder, and no such repository on "
        "the hub could be read."
    )


def test_the_config_has_a_flat_header_and_the_options(saved, kind):
    values = json.loads((saved / "config.json").read_text())
    expected = {
        "policy": {"type": "diffusion", "obs_shapes": {STATE: [3]}, "action_dim": 2},
        "reward": {"type": "mlp", "obs_dim": 3, "action_dim": 2},
    }[kind.name]
    assert {key: value for key, value in values.items() if key != "options"} == expected
    fields = dataclasses.fields(kind.make().config)
    assert list(values["options"]) == [field.name for field in fields]


def test_a_saved_model_can_be_loaded_and_saved_again(saved, kind):
    """A folder that is there is written over."""
    other = kind.make(seed=5)
    assert not torch.equal(kind.use(kind.load(saved)), kind.use(other))
    other.save_pretrained(saved)
    assert torch.equal(kind.use(kind.load(saved)), kind.use(other))
    kind.load(saved).save_pretrained(saved)
    assert torch.equal(kind.use(kind.load(str(saved))), kind.use(other))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file(saved, kind, name):
    (saved / name).unlink()
    assert message_of(kind.load, saved) == f"'{saved}' holds no {kind.name}: '{name}' is missing."


@pytest.mark.parametrize("size", [0, 4, 8, 100, -1])
def test_a_truncated_file(saved, kind, size):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    assert message_of(kind.load, saved).startswith(f"'{path}' is damaged: ")
    path = saved / "config.json"
    path.write_bytes(path.read_bytes().rstrip()[:size])
    assert message_of(kind.load, saved).startswith(f"'{path}' is damaged: ")


def test_a_damaged_config(saved, kind):
    (saved / "config.json").write_text('{"type": "diff')
    assert message_of(kind.load, saved) == (
        f"'{saved}/config.json' is damaged: Unterminated string starting at: "
        "line 1 column 10 (char 9)."
    )
    (saved / "config.json").write_bytes(b"\xff")
    assert message_of(kind.load, saved).startswith(f"'{saved}/config.json' is damaged: 'utf-8' ")


@pytest.mark.parametrize(
    "values",
    [{"architectures": ["bert"]}, {"type": "mlp", "options": 3}, {"type": ["mlp"], "options": {}},
     [1], None],
)  # fmt: skip
def test_a_config_of_something_else(saved, kind, values):
    (saved / "config.json").write_text(json.dumps(values))
    assert message_of(kind.load, saved) == (
        f"'{saved}/config.json' is not the config of a {kind.name} of robopref, which has a "
        "'type' and 'options'."
    )


def test_an_unknown_type_suggests_the_nearest(saved, kind):
    right = json.loads((saved / "config.json").read_text())["type"]
    edit(saved, type=kind.misspelt_type)
    assert message_of(kind.load, saved).startswith(
        f"'{saved}/config.json' cannot be used: No {kind.name} named '{kind.misspelt_type}'. "
        f"Did you mean '{right}'? Registered: ['"
    )


@pytest.mark.parametrize(("kind", "other"), [(POLICY, REWARD), (REWARD, POLICY)])
def test_a_model_of_the_other_kind(saved, kind, other):
    name = json.loads((saved / "config.json").read_text())["type"]
    assert message_of(other.load, saved).startswith(
        f"'{saved}/config.json' cannot be used: No {other.name} named '{name}'. Registered: ['"
    )


def test_an_unknown_option(saved, kind):
    edit(saved, options={"num_memberz": 3})
    assert message_of(kind.load, saved).startswith(
        f"'{saved}/config.json' cannot be used: {kind.model_class.__name__}Config has no field "
        "'num_memberz'. "
    )


def test_an_option_out_of_range(saved, kind):
    edit(saved, options={"n_action_steps": -1})
    assert message_of(kind.load, saved) == (
        f"'{saved}/config.json' cannot be used: {kind.model_class.__name__}Config cannot be built: "
        "`n_action_steps` must be at least 1, got -1."
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"action_dim": 0}, "cannot be built: `action_dim` must be at least 1, got 0."),
        ({"size": 3}, "has no field 'size'."),
    ],
)
def test_sizes_that_cannot_be(saved, kind, changes, problem):
    edit(saved, **changes)
    assert message_of(kind.load, saved).startswith(
        f"'{saved}/config.json' cannot be used: {kind.name.title()}Sizes {problem}"
    )


def test_sizes_of_another_form_and_missing_ones(saved, kind):
    edit(saved, action_dim="two")
    assert message_of(kind.load, saved) == (
        f"'{saved}/config.json' cannot be used: `{kind.name.title()}Sizes.action_dim` must be int, "
        "got 'two'."
    )
    values = json.loads((saved / "config.json").read_text())
    del values["action_dim"]
    (saved / "config.json").write_text(json.dumps(values))
    assert message_of(kind.load, saved) == (
        f"'{saved}/config.json' cannot be used: {kind.name.title()}Sizes needs values for "
        "['action_dim']."
    )


def test_weights_of_another_model(saved, kind):
    wide = saved.with_name("wide")
    kind.make(width=16).save_pretrained(wide)
    shutil.copy(wide / "model.safetensors", saved)
    message = message_of(kind.load, saved)
    assert message.startswith(f"'{saved}/model.safetensors' is of another model: ")
    assert message.endswith(" It and 'config.json' must come from the same save.")


def test_a_model_of_another_class(saved, kind):
    other: Any = type("Other", (kind.model_class,), {})
    assert message_of(other.from_pretrained, saved) == (
        f"'{saved}' holds {kind.model_class.__name__}, expected Other. "
        f"Load it with load_{kind.name}, which takes any {kind.name}."
    )


def test_a_kill_between_the_files_leaves_no_mixture(saved, kind, monkeypatch):
    """New weights beside the old config would be loaded as if they belonged together."""

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("robopref.pretrained.write_text_atomically", killed)
    with pytest.raises(KeyboardInterrupt):
        kind.make(seed=5).save_pretrained(saved)
    assert message_of(kind.load, saved) == (
        f"'{saved}' holds no {kind.name}: 'config.json' is missing."
    )
