"""A robot that speaks openpi's protocol, by openpi's own client in an environment of its own."""

import json
import subprocess
from pathlib import Path

import pytest

from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.seeding import make_generator
from robopref.types import STATE

SIDE = Path(__file__).parents[2] / ".venv-openpi/bin/python"
TOKEN = "a-token-of-some-length"
ROBOT = """
import json, sys
import numpy as np
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.websocket_client_policy import WebsocketClientPolicy

address, token, horizon = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = WebsocketClientPolicy(address, api_key=token)
policy = ActionChunkBroker(client, action_horizon=horizon)
obs = {"observation/state": np.arange(5, dtype=np.float32), "prompt": "press the button"}
shapes = [policy.infer(obs)["actions"].shape for _ in range(horizon + 1)]
try:
    client.infer({"observation/state": np.zeros(4, np.float32)})
except RuntimeError as error:
    refusal = str(error)
print(json.dumps({
    "shapes": shapes, "metadata": client.get_server_metadata(), "refusal": refusal,
    "again": list(client.infer(obs)["actions"].shape),
}))
"""


def test_openpis_client_gets_its_actions(serve):
    if not SIDE.exists():
        pytest.skip("there is no .venv-openpi; 'make peers' builds it")
    policy = DiffusionPolicyConfig().build({STATE: (5,)}, 3, make_generator(0)).eval()
    server, address = serve(policy, token=TOKEN, keys={"observation/state": STATE})
    horizon = policy.n_action_steps
    done = subprocess.run(
        [str(SIDE), "-c", ROBOT, address, TOKEN, str(horizon)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["shapes"] == [[3]] * (horizon + 1)
    assert found["metadata"]["chunk_size"] == policy.chunk_size
    assert "'observation.state' must have shape (5,)" in found["refusal"]
    assert found["again"] == [policy.chunk_size, 3]
    # Two chunks for so many actions, and the last question.
    assert server.num_answers == 3
