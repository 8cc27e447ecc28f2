"""LeRobot's policies as robopref's and robopref's as LeRobot's, in LeRobot's environment."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from robopref.align.actors import find_saved
from robopref.data.segment import Segment
from robopref.data.windows import PAST_ACTION
from robopref.encoders import StateEncoderConfig
from robopref.errors import CheckpointError, MissingExtraError
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.finetune import FINETUNE
from robopref.policies.finetune.data import FinetuneData, Judgement
from robopref.policies.lerobot_diffusion import (
    ENVIRONMENT_STATE,
    export_diffusion,
    import_diffusion,
)
from robopref.policies.serialization import load_policy, read_obs_shapes
from robopref.resnet_encoder import ResNetEncoderConfig
from robopref.trainer import TrainerConfig
from robopref.types import ACTION, IMAGES, STATE
from tests.policies.lerobot_policies import CONFIG, edit, make_policy, split

ROOT = Path(__file__).parents[2]
ELSEWHERE = ("ppo", "deformpam", "deformpam-plus")
"""Learn from what the toy's episodes do not have."""
PYTHON = ROOT / ".venv-lerobot/bin/python"


@pytest.fixture
def policy():
    return make_policy()


@pytest.fixture
def obs():
    return {STATE: torch.randn(4, 2, 7, generator=torch.Generator().manual_seed(1))}


@pytest.fixture
def noise():
    return torch.randn(4, 3, 16, 2, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("joined", [True, False])
def test_what_was_exported_is_imported_as_it_was(policy, obs, noise, tmp_path, joined):
    export_diffusion(policy, tmp_path, proprioception=3)
    again = import_diffusion(tmp_path, join_states=joined)
    seen = obs if joined else split(obs, 3)
    ours = policy.sample(obs, 3, torch.Generator(), noise=noise)
    torch.testing.assert_close(
        again.sample(seen, 3, torch.Generator(), noise=noise), ours, rtol=1e-4, atol=1e-5
    )
    export_diffusion(again, tmp_path / "again", proprioception=3 if joined else None)
    third = import_diffusion(tmp_path / "again")
    torch.testing.assert_close(
        third.sample(split(obs, 3), 3, torch.Generator(), noise=noise), ours, rtol=1e-4, atol=1e-5
    )


def test_what_never_varied_is_no_division_by_zero(tmp_path):
    states = StateEncoderConfig(normalization="gaussian", clip=1e6)
    policy = make_policy(replace(CONFIG, encoder=states))
    policy.encoder.normalizer.scale[0] = 0
    export_diffusion(policy, tmp_path, proprioception=3)
    again = import_diffusion(tmp_path).encoder.normalizer
    assert again.scale[0] == 1
    torch.testing.assert_close(again.loc, policy.encoder.normalizer.loc)


def test_past_actions_are_denoised_along_and_not_carried_out(policy, obs, noise):
    assert policy.noise_shape == (16, 2)
    chunk = policy.sample(obs, 3, torch.Generator(), noise=noise)
    assert chunk.shape == (4, 3, 15, 2)
    other = noise.clone()
    other[:, :, 0] += 1
    assert not torch.equal(policy.sample(obs, 3, torch.Generator(), noise=other), chunk)
    batch = {**obs, ACTION: chunk[:, 0], PAST_ACTION: chunk[:, 0, :1] + 1}
    seen = policy.to_network(batch[ACTION], batch)
    past = policy.action_normalizer(batch[PAST_ACTION])
    torch.testing.assert_close(seen[:, :1], past)
    torch.testing.assert_close(policy.from_network(seen, batch), batch[ACTION])


def test_past_actions_count_in_training_and_not_as_likelihood(policy, obs, noise):
    steps = torch.tensor([0, 10, 30, 49])
    batch = {**obs, ACTION: torch.zeros(4, 15, 2), PAST_ACTION: torch.zeros(4, 1, 2),
             "action_is_pad": torch.zeros(4, 15, dtype=torch.bool)}  # fmt: skip
    predicted = policy.predict_noise(batch, steps, noise[:, 0])
    error = (predicted - noise[:, 0]).square()
    torch.testing.assert_close(
        policy.noise_error(batch, steps, noise[:, 0]), error[:, 1:].mean((1, 2))
    )
    # The same draws give the loss of all sixteen.
    drawn, noising = policy.draw_noising(4, torch.Generator().manual_seed(3))
    whole = (policy.predict_noise(batch, drawn, noising) - noising).square().mean()
    loss, _ = policy(batch, torch.Generator().manual_seed(3))
    torch.testing.assert_close(loss, whole)


def test_candidates_have_the_error_of_the_chunk_alone(policy, obs, noise):
    candidates = policy.sample(obs, 3, torch.Generator(), noise=noise)
    steps, noising = policy.draw_noising(5, torch.Generator().manual_seed(3))
    errors = policy.candidate_errors(obs, candidates, steps, noising)
    one = {STATE: obs[STATE][1:2].expand(5, -1, -1), ACTION: candidates[1:2, 2].expand(5, -1, -1),
           "action_is_pad": torch.zeros(5, 15, dtype=torch.bool)}  # fmt: skip
    torch.testing.assert_close(errors[1, 2], policy.noise_error(one, steps, noising))


@pytest.mark.slow
@pytest.mark.parametrize("pictured", [False, True], ids=["states", "pictures"])
@pytest.mark.parametrize(
    "name",
    [
        n for n in FINETUNE.names()
        if n not in ELSEWHERE and hasattr(FINETUNE.config_class(n)(), "trainer")
    ],
)  # fmt: skip
def test_what_was_imported_can_be_tuned(toy_episodes, toy_scorer, tmp_path, name, pictured):
    """The methods that train, a few steps each: past actions and chunks stay apart."""
    size = toy_episodes[0].action.shape[1]
    toy_episodes = toy_episodes[:12]
    if pictured:
        eyes = ResNetEncoderConfig(crop=(36, 36), num_points=4, norm="batch")
        shapes = {STATE: (3,), IMAGES + "top": (40, 40, 3)}
        export_diffusion(make_policy(replace(CONFIG, encoder=eyes), shapes, size), tmp_path)
        rng = np.random.default_rng(2)
        toy_episodes = [
            replace(e, obs={**e.obs, IMAGES + "top": rng.integers(
                0, 256, (len(e) + 1, 40, 40, 3), dtype=np.uint8)})
            for e in toy_episodes
        ]  # fmt: skip
    else:
        states = make_policy(shapes={STATE: (3,)}, action_dim=size)
        export_diffusion(states, tmp_path, proprioception=1)
    base = import_diffusion(tmp_path, join_states=True)
    method = FINETUNE.config_class(name)()
    whole = [Segment(e.id, 0, len(e)) for e in toy_episodes]
    judgements = [Judgement.of_pair(whole[i], whole[i + 1], 0.0) for i in range(0, 12, 2)]
    returns = np.array([np.sign(e.action[:, 0]).sum() for e in toy_episodes])
    data = FinetuneData(
        toy_episodes[:4], judged=toy_episodes, judgements=judgements, pool=toy_episodes,
        returns=returns[None], scorer=toy_scorer,
    )  # fmt: skip
    short = replace(method, trainer=TrainerConfig(num_steps=2, batch_size=8, learning_rate=1e-3))
    tuned, _ = short.run(base, data, generator=torch.Generator().manual_seed(3))
    obs = {STATE: torch.zeros(2, 2, 3)}
    if pictured:
        obs[IMAGES + "top"] = torch.full((2, 2, 40, 40, 3), 99, dtype=torch.uint8)
    before, after = (p.sample(obs, 2, torch.Generator().manual_seed(1)) for p in (base, tuned))
    assert after.shape == (2, 2, 15, size)
    assert torch.isfinite(after).all()
    assert not torch.equal(before, after)


REFUSED_IMPORTS: dict[str, tuple[dict[str, Any], str]] = {
    "kind": (
        {"type": "act"},
        "The policy in '{0}' is of type 'act'; only LeRobot's 'diffusion' can be imported. It acts "
        "as it is, and can be chosen from: give its folder as --policy.",
    ),
    "prediction": (
        {"prediction_type": "sample"},
        "The policy in '{0}' has `prediction_type` 'sample'; only 'epsilon' can be imported.",
    ),
    "no state": (
        {"input_features": {ENVIRONMENT_STATE: {"type": "ENV", "shape": [4]}}},
        "The policy in '{0}' sees ['observation.environment_state'], expected 'observation.state', "
        "'observation.environment_state' and pictures 'observation.images.*'.",
    ),
    "shape": (
        {"input_features": {STATE: {"type": "STATE"}}},
        "`input_features` of a policy of LeRobot's must give each feature a 'type' and a 'shape', "
        "got {{'observation.state': {{'type': 'STATE'}}}}.",
    ),
    "sizes": (
        {"down_dims": [16, 64]},
        "'{0}/model.safetensors' is of another model: down.1.first.first.conv.weight has shape "
        "(5, 16, 32), expected (5, 16, 64). It and 'config.json' must come from the same save.",
    ),
}


@pytest.mark.parametrize("case", REFUSED_IMPORTS)
def test_what_has_no_counterpart_is_not_imported(policy, tmp_path, case):
    changes, message = REFUSED_IMPORTS[case]
    export_diffusion(policy, tmp_path, proprioception=3)
    edit(tmp_path, **changes)
    with pytest.raises(CheckpointError) as error:
        import_diffusion(tmp_path)
    assert str(error.value) == message.format(tmp_path)


def test_a_damaged_or_incomplete_checkpoint_is_refused(policy, tmp_path):
    with pytest.raises(FileNotFoundError) as missing:
        import_diffusion(tmp_path)
    assert str(missing.value) == f"No policy of LeRobot's at '{tmp_path}': no 'config.json'."
    export_diffusion(policy, tmp_path, proprioception=3)
    pipeline = tmp_path / "policy_preprocessor.json"
    content = json.loads(pipeline.read_text())
    content["steps"][0]["config"]["rename_map"] = {"a": "b"}
    pipeline.write_text(json.dumps(content))
    with pytest.raises(CheckpointError) as renamed:
        import_diffusion(tmp_path)
    assert str(renamed.value) == (
        f"'{pipeline}' does more than normalise: it has the step 'rename_observations_processor' "
        "with {'rename_map': {'a': 'b'}}. Such a policy acts as it is, and is not imported."
    )
    pipeline.unlink()
    with pytest.raises(CheckpointError) as old:
        import_diffusion(tmp_path)
    assert str(old.value).startswith(f"'{tmp_path}' lacks 'policy_preprocessor.json': it was saved")
    (tmp_path / "model.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError):
        import_diffusion(tmp_path)


@pytest.mark.parametrize(
    ("config", "proprioception", "message"),
    [
        (CONFIG, None, "`proprioception` must say how many of the 7 numbers of the state are the "),
        (CONFIG, 7, "`proprioception` must say how many of the 7 numbers of the state are the "),
        (
            DiffusionPolicyConfig(n_obs_steps=1),
            3,
            "Only a diffusion policy with the denoiser 'unet' can be written for LeRobot, got "
            "DiffusionPolicy with MLPDenoiser. Train one with --policy diffusion "
            "--policy.denoiser unet --policy.prediction noise.",
        ),
        (
            DiffusionPolicyConfig(n_obs_steps=1, denoiser="unet"),
            3,
            "`policy.prediction` must be 'noise' for LeRobot, got 'velocity'. Train with it.",
        ),
        (
            DiffusionPolicyConfig(denoiser="unet", prediction="noise"),
            3,
            "`policy.num_past_actions` must be 1 for LeRobot, got 0. Train with it.",
        ),
        (
            DiffusionPolicyConfig(
                n_obs_steps=1, chunk_size=10, n_action_steps=4, denoiser="unet", prediction="noise"
            ),
            3,
            "`policy.chunk_size` must be 8 for LeRobot, got 10. Train with it.",
        ),
    ],
)
def test_what_lerobot_cannot_be_is_not_exported(tmp_path, config, proprioception, message):
    with pytest.raises(ValueError) as error:
        export_diffusion(make_policy(config), tmp_path / "out", proprioception=proprioception)
    assert str(error.value).startswith(message)
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_is_described_without_lerobot(policy, tmp_path):
    export_diffusion(policy, tmp_path, proprioception=3)
    assert read_obs_shapes(tmp_path) == {STATE: (3,), ENVIRONMENT_STATE: (4,)}
    edit(
        tmp_path, input_features={"observation.images.top": {"type": "VISUAL", "shape": [3, 8, 9]}}
    )
    assert read_obs_shapes(tmp_path) == {"observation.images.top": (8, 9, 3)}


def test_a_checkpoint_on_the_hub_comes_with_all_its_files(policy, obs, noise, hub, tmp_path):
    export_diffusion(policy, hub / "someone/reach", proprioception=3)
    found = find_saved(Path("hf://someone/reach"), "policy")
    assert {p.name for p in found.iterdir()} == {p.name for p in (hub / "someone/reach").iterdir()}
    again = import_diffusion(found, join_states=True)
    torch.testing.assert_close(
        again.sample(obs, 3, torch.Generator(), noise=noise),
        policy.sample(obs, 3, torch.Generator(), noise=noise), rtol=1e-4, atol=1e-5,
    )  # fmt: skip
    with pytest.raises(FileNotFoundError) as error:
        find_saved(Path("hf://someone/else"), "policy")
    assert str(error.value) == (
        "No policy at 'someone/else': there is no such folder, and no such repository on the hub "
        "could be read."
    )


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="LeRobot may be here.")
def test_without_lerobot_the_way_out_is_told(policy, tmp_path):
    export_diffusion(policy, tmp_path, proprioception=3)
    with pytest.raises(MissingExtraError) as error:
        load_policy(tmp_path)
    assert str(error.value) == (
        "A policy of LeRobot's needs lerobot, and that Python 3.12 or newer; this is "
        f"{sys.version_info.major}.{sys.version_info.minor}. In an environment of 3.12: "
        "pip install 'robopref[lerobot]'."
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    if not PYTHON.exists():
        pytest.skip("there is no .venv-lerobot; 'make peers' builds it (LeRobot needs numpy 2)")
    exported = tmp_path_factory.mktemp("exported")
    shapes = {STATE: (3,), ENVIRONMENT_STATE: (4,)}
    beside = StateEncoderConfig(beside=(ENVIRONMENT_STATE,))
    policy = make_policy(replace(CONFIG, encoder=beside), shapes)
    export_diffusion(policy, exported)
    generator = torch.Generator().manual_seed(1)
    given = {key: torch.randn(4, 2, *shape, generator=generator) for key, shape in shapes.items()}
    noise = torch.randn(4, 16, 2, generator=generator)
    chunk = policy.sample(given, 1, generator, noise=noise[:, None])[:, 0].contiguous()
    save_file({**given, "noise": noise, "chunk": chunk}, exported / "expected.safetensors")
    script = Path(__file__).with_name("lerobot_checkpoints.py")
    done = subprocess.run(
        [PYTHON, script, tmp_path_factory.mktemp("lerobot"), exported],
        capture_output=True, text=True, timeout=280, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_lerobots_policies_act_here_as_there(found):
    types = found["types"]
    assert types["diffusion"]["sizes"] == [2, 6, 6]
    assert types["act"]["sizes"] == [1, 10, 5]
    for kind in types.values():
        assert kind["as_theirs"] < 1e-5
        assert kind["repeats"]
        assert kind["alone"] < 1e-4
        assert kind["leaves_randomness"]


@pytest.mark.slow
def test_candidates_differ_only_where_the_policy_samples(found):
    types = found["types"]
    assert types["diffusion"]["shape"] == [5, 4, 6, 2]
    assert types["diffusion"]["spread"] > 0.1
    assert types["diffusion"]["warned"] == []
    assert types["act"]["spread"] < 1e-4
    (warned,) = set(types["act"]["warned"])
    assert "(act) proposes the same chunk each time: a reward has nothing to choose from." in warned


@pytest.mark.slow
def test_an_imported_policy_predicts_and_acts_as_it_did(found):
    assert found["import"]["sizes"] == [15, 1, 6]
    assert found["import"]["noise"] < 1e-5
    # Rounding adds up over ten steps.
    assert found["import"]["chunk"] < 5e-5


@pytest.mark.slow
@pytest.mark.parametrize("eyes", ["group", "batch", "shared"])
def test_a_policy_that_sees_pictures_goes_there_and_back(found, eyes):
    """Crops, norms, one network or several, and the order in which all of it is laid."""
    figures = found["pictures"][eyes]
    assert figures["noise"] < 1e-5
    assert figures["chunk"] < 5e-5
    assert figures["sees"] > 1e-3
    assert figures["tuned_moved"] > 1e-3
    assert figures["tuned"] < 5e-5


@pytest.mark.slow
def test_lerobot_acts_by_what_was_tuned_here(found):
    assert found["import"]["tuned_moved"] > 1e-3
    assert found["import"]["tuned"] < 5e-5
    assert found["exported"] < 5e-5


@pytest.mark.slow
def test_a_policy_that_sees_pictures_is_evaluated(found):
    assert found["command"]["code"] == 0, found["command"]["said"]
    assert "collect --policy" in found["command"]["said"]
