"""The server and its client over a real socket, with a real policy."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.protocols import Policy
from robopref.seeding import make_generator
from robopref.serving.messages import Request, Served
from robopref.serving.remote import PolicyUnreachable, RemotePolicy, RemoteSpec
from robopref.serving.server import PolicyServer, PolicyServerConfig
from robopref.serving.wire import WireError, pack, unpack
from robopref.types import STATE

TOKEN = "a-token-of-some-length"
SHAPES = {STATE: (5,)}


@pytest.fixture(scope="module")
def policy():
    return DiffusionPolicyConfig().build(SHAPES, 3, make_generator(0)).eval()


class Slow:
    """A policy that takes its time."""

    def __init__(self, policy, seconds):
        self.policy, self.seconds = policy, 0.0
        for name in ("obs_shapes", "n_obs_steps", "chunk_size", "n_action_steps"):
            setattr(self, name, getattr(policy, name))
        self.later = seconds

    def predict_action_chunk(self, obs, generator):
        time.sleep(self.seconds)
        self.seconds = self.later
        return self.policy.predict_action_chunk(obs, generator)


class Failing(Slow):
    """A policy that fails after the first question."""

    def predict_action_chunk(self, obs, generator):
        if self.seconds:
            raise RuntimeError("out of memory")
        return super().predict_action_chunk(obs, generator)


def observe(policy, batch=2, seed=0):
    rng = np.random.default_rng(seed)
    obs = rng.normal(size=(batch, policy.n_obs_steps, 5)).astype(np.float32)
    return {STATE: torch.from_numpy(obs)}


def test_a_served_policy_is_a_policy_and_does_what_it_would_do_here(policy, serve):
    server, address = serve(policy)
    remote = RemoteSpec(address).load()
    assert isinstance(remote, Policy)
    assert remote.obs_shapes == SHAPES
    obs = observe(policy)
    chunk = remote.predict_action_chunk(obs, make_generator(7))
    again = remote.predict_action_chunk(obs, make_generator(7))
    torch.testing.assert_close(chunk, again, rtol=0, atol=0)
    assert not torch.equal(chunk, remote.predict_action_chunk(obs, make_generator(8)))
    seed = int(torch.randint(2**62, (), generator=make_generator(7)))
    with torch.inference_mode():
        local = policy.predict_action_chunk(obs, make_generator(seed, "served"))
    torch.testing.assert_close(chunk, local, rtol=0, atol=0)
    assert remote.sample(obs, 4, make_generator(1)).shape == (2, 4, policy.chunk_size, 3)
    assert remote.select_action({STATE: obs[STATE][:, 0]}, make_generator(1)).shape == (2, 3)
    remote.close()
    remote.close()
    assert server.num_answers == 5


def test_a_client_that_lost_its_connection_connects_again(policy, serve):
    _, address = serve(policy)
    remote = RemoteSpec(address).load()
    remote._connection.close()
    assert remote.predict_action_chunk(observe(policy), make_generator(0)).shape[0] == 2
    remote.close()


def test_openpis_form_gets_openpis_answer(policy, serve):
    _, address = serve(policy, keys={"observation/state": STATE})
    newest = np.arange(5, dtype=np.float64)
    with connect(address, compression=None) as client:
        assert unpack(client.recv(decode=False))["n_obs_steps"] == policy.n_obs_steps
        for given in (newest, np.repeat(newest[None], policy.n_obs_steps, axis=0)):
            client.send(pack({"observation/state": given, "prompt": "press the button"}))
            reply = unpack(client.recv(decode=False))
            assert reply["actions"].shape == (policy.chunk_size, 3)
            assert reply["server_timing"]["infer_ms"] > 0


def test_many_clients_get_their_own_answers(policy, serve):
    server, address = serve(policy)

    def ask(seed):
        remote = RemoteSpec(address, deadline_s=20.0).load()
        obs = observe(policy, batch=1, seed=seed)
        found = [remote.predict_action_chunk(obs, make_generator(seed)) for _ in range(3)]
        remote.close()
        with torch.inference_mode():
            drawn = int(torch.randint(2**62, (), generator=make_generator(seed)))
            local = policy.predict_action_chunk(obs, make_generator(drawn, "served"))
        return all(torch.equal(chunk, local) for chunk in found)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))
    assert server.num_answers == 24


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observation": {}}, "is not there as an array. The policy observes 'observation.state'"),
        ({"observation": 3}, "must be a map"),
        ({"observation": {STATE: np.zeros((1, 2, 4))}}, "must have shape (B, 2, 5), got (1, 2, 4)"),
        ({"observation": {STATE: np.full((1, 2, 5), np.nan)}}, "must be finite"),
        ({"observation": {STATE: np.zeros((5000, 2, 5))}}, "At most 4096 chunks"),
        ({"seed": -1}, "`seed` must be a whole number"),
        ({"seed": True}, "`seed` must be a whole number"),
        ({"num_candidates": 4097}, "`num_candidates` must be a whole number in [1, 4096]"),
        ({"deadline_s": 0}, "`deadline_s` must be above 0"),
        ({"command": "rm"}, "'command' is not part of a request"),
    ],
)
def test_what_cannot_be_answered_is_refused_and_the_next_is_answered(
    policy, serve, change, message
):
    _, address = serve(policy)
    good = Request({STATE: np.zeros((1, policy.n_obs_steps, 5), np.float32)}, seed=1).message()
    with connect(address) as client:
        client.recv(decode=False)
        for bad in (pack(good | change), b"\xc1", "text"):
            client.send(bad)
            refusal = client.recv()
            assert isinstance(refusal, str)
            if bad == pack(good | change):
                assert message in refusal
        client.send(pack(good))
        assert unpack(client.recv(decode=False))["actions"].shape == (1, policy.chunk_size, 3)


def test_a_large_message_ends_its_connection_only(policy, serve):
    _, address = serve(policy, max_message_mib=0.01)
    with connect(address) as client:
        client.recv(decode=False)
        client.send(bytes(20_000))
        with pytest.raises(ConnectionClosedError, match="1009"):
            client.recv(decode=False)
    assert RemoteSpec(address).load().chunk_size == policy.chunk_size


def test_only_who_has_the_token_is_let_in(policy, serve, monkeypatch):
    _, address = serve(policy, token=TOKEN)
    monkeypatch.delenv("ROBOPREF_TOKEN", raising=False)
    for token in (None, "wrong", TOKEN[:-1]):
        with pytest.raises(PolicyUnreachable, match="refuses: Wrong or no token"):
            RemotePolicy(RemoteSpec(address), token)
    monkeypatch.setenv("ROBOPREF_TOKEN", TOKEN)
    RemoteSpec(address).load().close()
    # As openpi's client gives it.
    with connect(address, additional_headers={"Authorization": f"Api-Key {TOKEN}"}) as client:
        assert unpack(client.recv(decode=False))["name"] == "the policy"


def test_a_page_of_another_site_is_kept_out(policy, serve):
    _, address = serve(policy)
    with pytest.raises(InvalidStatus, match="403"):
        connect(address, origin=Origin("http://evil.example"))


def test_no_more_clients_than_allowed(policy, serve):
    _, address = serve(policy, max_clients=1)
    first = RemoteSpec(address).load()
    with pytest.raises(PolicyUnreachable, match="Too many clients"):
        RemoteSpec(address).load()
    first.close()


def test_a_late_answer_is_an_error_and_is_not_taken_for_the_next(policy, serve):
    _, address = serve(Slow(policy, 0.6))
    remote = RemoteSpec(address, deadline_s=0.3).load()
    with pytest.raises(PolicyUnreachable, match=r"did not answer within 0\.3 s"):
        remote.predict_action_chunk(observe(policy), make_generator(0))
    time.sleep(0.5)
    patient = RemoteSpec(address, deadline_s=5.0).load()
    assert patient.predict_action_chunk(observe(policy, 3), make_generator(0)).shape[0] == 3
    patient.close()
    remote.close()


def test_a_question_that_waited_too_long_is_not_answered(policy, serve):
    server, address = serve(Slow(policy, 0.5))
    question = pack(Request(
        {STATE: np.zeros((1, policy.n_obs_steps, 5), np.float32)}, deadline_s=0.2
    ).message())  # fmt: skip
    with connect(address) as first, connect(address) as second:
        for client in (first, second):
            client.recv(decode=False)
            client.send(question)
        answers = [client.recv(timeout=5) for client in (first, second)]
    assert sorted(isinstance(answer, str) for answer in answers) == [False, True]
    assert any("of no use" in answer for answer in answers if isinstance(answer, str))
    assert server.num_answers == 1


def test_a_policy_that_fails_says_so_and_the_server_goes_on(policy, serve):
    _, address = serve(Failing(policy, 1.0))
    remote = RemoteSpec(address).load()
    for _ in range(2):
        with pytest.raises(WireError, match="The policy failed: RuntimeError: out of memory"):
            remote.predict_action_chunk(observe(policy), make_generator(0))
    remote.close()


def test_another_policy_at_the_same_address_is_not_taken_for_the_first(policy, serve):
    server, address = serve(policy)
    remote = RemoteSpec(address).load()
    server.served = replace(server.served, chunk_size=7)
    remote._connection.close()
    with pytest.raises(PolicyUnreachable, match="another policy than before"):
        remote.predict_action_chunk(observe(policy), make_generator(0))
    remote.close()


def test_what_is_not_there_is_said():
    with pytest.raises(PolicyUnreachable, match="cannot be reached"):
        RemoteSpec("ws://127.0.0.1:9", deadline_s=0.5).load()
    with pytest.raises(ValueError, match="`server` must be like ws://HOST:PORT"):
        RemoteSpec("http://127.0.0.1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "0.0.0.0"}, "everybody on the network could ask"),
        ({"host": "0.0.0.0", "token": "short"}, "`token` must have at least 8 letters"),
        ({"port": 70_000}, "port"),
        ({"max_message_mib": 0}, "max_message_mib"),
    ],
)
def test_settings_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        PolicyServerConfig(**options)


def test_a_name_for_what_is_not_observed_is_refused(policy):
    with pytest.raises(ValueError, match="does not observe 'image'"):
        PolicyServer(
            policy, Served.of(policy, "x"), PolicyServerConfig(keys={"their/image": "image"})
        )


def test_a_server_of_another_version_is_refused():
    with pytest.raises(WireError, match="speaks 'robopref/9'"):
        Served.parse({"protocol": "robopref/9"})
    with pytest.raises(WireError, match="is damaged"):
        Served.parse({"protocol": "robopref/1", "name": "x"})
