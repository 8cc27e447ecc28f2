"""Tests for ray_workers.py, on a real cluster of two nodes."""

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robopref import cli, ray_workers
from robopref.align.actors import ScriptedSpec
from robopref.align.collect import Plan, collect, open_or_create
from robopref.data.store import EpisodeStore
from robopref.envs.deformable.env import DeformableConfig
from robopref.envs.deformable.trials import Trials
from robopref.envs.make import make_env
from robopref.envs.planar.behaviours import KeepOutConfig
from robopref.errors import ConfigError, MissingExtraError
from robopref.ray_workers import RayConfig, RayError, RayWorkers
from robopref.workers import Workers
from tests.extras import import_extra


@pytest.fixture(scope="module")
def cluster():
    """Return a cluster whose second node may be taken away, with this process connected."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray = import_extra("ray", "scale")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    made = Cluster(initialize_head=True, head_node_args=node)
    made.add_node(**node)  # type: ignore[arg-type]
    ray.init(made.address, log_to_driver=False, logging_level="error")
    yield made
    ray.shutdown()
    made.shutdown()


def double(number):
    return 2 * number


def refuse(number):
    raise ConfigError(f"`number` must not be {number}.")


def node_here():
    import ray

    return ray.get_runtime_context().get_node_id()


def where(number):
    import torch

    time.sleep(0.05)
    return node_here(), os.getcwd(), torch.get_num_threads()


def work_and_log(job):
    """Take a while, and write down where this begins and ends."""
    number, log = job
    for what in ("begin", "end"):
        with log.open("a") as file:
            file.write(f"{what} {number} {node_here()}\n")
        if what == "begin":
            time.sleep(0.4)
    return number


@pytest.mark.slow
def test_results_come_in_the_order_of_the_items_and_once(cluster):
    with RayWorkers(RayConfig(ray=True)) as workers:
        assert workers.num_at_once == 2
        assert list(workers.map(double, range(20))) == [2 * n for n in range(20)]
        found = list(workers.map(double, range(20), in_order=False))
    assert sorted(found) == [2 * n for n in range(20)]


@pytest.mark.slow
def test_both_nodes_work_in_the_same_folder_with_one_thread(cluster):
    nodes = set()
    with RayWorkers(RayConfig(ray=True)) as workers:
        for node, folder, threads in workers.map(where, itertools.count()):
            assert (folder, threads) == (os.getcwd(), 1)
            nodes.add(node)
            if len(nodes) == 2:
                break


@pytest.mark.slow
def test_what_the_work_refuses_is_said_as_it_is(cluster):
    with RayWorkers(RayConfig(ray=True)) as workers, pytest.raises(ConfigError) as error:
        list(workers.map(refuse, [3]))
    assert str(error.value) == "`number` must not be 3."


@pytest.mark.slow
def test_a_worker_with_other_versions_is_refused(cluster, monkeypatch):
    versions = dict(ray_workers._versions()) | {"mujoco": "2.0"}
    monkeypatch.setattr(ray_workers, "_versions", lambda: tuple(versions.items()))
    with RayWorkers(RayConfig(ray=True)) as workers, pytest.raises(RayError) as error:
        list(workers.map(double, [1]))
    host, here = socket.gethostname(), __import__("mujoco").__version__
    assert str(error.value) == (
        f"The machine {host} of the Ray cluster has mujoco {here}, and {host} has 2.0: results "
        "would differ. Install the same there."
    )


@pytest.mark.slow
def test_a_worker_without_robopref_is_refused(cluster, monkeypatch):
    monkeypatch.setattr(ray_workers, "ENTRY", "robopref_that_is_not_there")
    with RayWorkers(RayConfig(ray=True)) as workers, pytest.raises(RayError) as error:
        list(workers.map(double, [1]))
    assert str(error.value) == (
        "A machine of the Ray cluster has no robopref that can work with this one: No module named "
        "'robopref_that_is_not_there'. Install the same there."
    )


@pytest.mark.slow
def test_what_no_machine_has_room_for_is_waited_for_and_said(cluster, monkeypatch):
    monkeypatch.setattr(ray_workers, "PATIENCE_S", 3.0)
    told: list[str] = []
    with RayWorkers(RayConfig(ray=True, ray_gpus=8)) as workers, pytest.raises(RayError) as error:
        list(workers.map(double, [1], tell=told.append))
    assert told == ["No machine of the Ray cluster has 1 CPU, 8 GPU: waiting for one."]
    assert str(error.value) == (
        "No machine of the Ray cluster had 1 CPU, 8 GPU for 3 s. Add one, or ask for less with "
        "--ray-cpus, --ray-gpus and --ray-memory-gb."
    )


def test_an_address_where_nobody_listens_is_refused_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    start = time.monotonic()
    for given in (address, f"ray://{address}"):
        workers = RayConfig(ray_address=given).build(2)
        with pytest.raises(RayError) as error:
            ray_workers._check_answers(given)
        assert str(error.value) == (
            f"No Ray cluster answers at '{given}': Connection refused. Start its head with "
            "'ray start --head', and give the address that it prints."
        )
        assert isinstance(workers, RayWorkers)
    assert time.monotonic() - start < 5


def test_an_address_has_a_host_and_a_port():
    with pytest.raises(RayError) as error:
        ray_workers._check_answers("cluster")
    assert str(error.value) == (
        "`ray_address` must read 'auto', 'HOST:PORT' or 'ray://HOST:PORT', got 'cluster'."
    )


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError) as error, RayConfig(ray=True).build(2):
        pass
    assert str(error.value) == (
        "Work on Ray needs ray. Install it with: pip install 'robopref[scale]'."
    )


def test_work_is_done_here_unless_ray_is_asked_for():
    assert type(RayConfig().build(0)) is Workers
    assert isinstance(RayConfig(ray=True).build(1), RayWorkers)
    with pytest.raises(ValueError) as error:
        RayConfig(ray=True).build(0)
    assert str(error.value) == "`num_workers` must be at least 1, got 0."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ray_cpus": 0}, "`ray_cpus` must be above 0, got 0."),
        ({"ray_gpus": -1}, "`ray_gpus` must be at least 0, got -1."),
        ({"ray_gpus": 1.5}, "`ray_gpus` must be whole above 1, got 1.5."),
        ({"ray_retries": -1}, "`ray_retries` must be at least 0, got -1."),
    ],
)
def test_what_a_worker_takes_makes_sense(options, message):
    with pytest.raises(ValueError) as error:
        RayConfig(**options)
    assert str(error.value) == message


@pytest.mark.slow
def test_another_version_of_ray_is_refused(cluster):
    script = f"""
import ray
from robopref.ray_workers import RayConfig

ray.__version__ = "2.0.0"
with RayConfig(ray_address="{cluster.address}").build(2):
    pass
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert told.startswith(
        "robopref.ray_workers.RayError: Cannot work on the Ray cluster "
        f"'{cluster.address}': Version mismatch: The cluster was started with: Ray: "
    )
    assert told.endswith(
        " This machine needs the Ray and Python that it has, and its token (RAY_AUTH_MODE=token) "
        "if it has one."
    )


@contextlib.contextmanager
def one_more(cluster):
    """Give the cluster a node for a while, which may be killed meanwhile."""
    node = cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    cluster.wait_for_nodes()
    yield node
    assert node not in cluster.worker_nodes


@pytest.mark.slow
def test_a_lost_node_costs_nothing_and_nothing_is_counted_twice(cluster, tmp_path):
    log = tmp_path / "log"
    told: list[str] = []
    found: list[int] = []
    with one_more(cluster) as node, RayWorkers(RayConfig(ray=True)) as workers:
        assert workers.num_at_once == 3
        for number in workers.map(work_and_log, [(n, log) for n in range(24)], tell=told.append):
            found.append(number)
            lines = [line.split() for line in log.read_text().splitlines()]
            there = [what for what, _, where in lines if where == node.node_id]
            if node in cluster.worker_nodes and there.count("begin") > there.count("end") > 0:
                cluster.remove_node(node, allow_graceful=False)
        while workers.num_at_once == 3:  # The cluster itself needs some seconds to notice.
            workers._look(told.append)
            time.sleep(0.1)
        assert workers.num_at_once == 2
    assert found == list(range(24))
    begun = [line.split()[1] for line in log.read_text().splitlines() if line.startswith("begin")]
    assert len(begun) > len(set(begun)) == 24
    assert told == [
        f"Lost the machine {socket.gethostname()}; what it was doing is done again elsewhere."
    ]


PLAN = Plan(
    env="planar/avoid-short-v0", actor=ScriptedSpec(KeepOutConfig(), 0.5, 0.1), seed=3,
    start_set="pool", num_episodes=40, group_size=1,
)  # fmt: skip


def contents(store):
    """Return what the data set holds, by episode in its order."""
    return {
        episode.id: (episode.seed, episode.metadata, episode.state.tobytes(),
                     episode.action.tobytes(), episode.reward.tobytes())
        for episode in store
    }  # fmt: skip


@pytest.mark.slow
def test_a_recording_that_loses_a_node_is_the_one_that_is_made_here(cluster, tmp_path):
    here, there = (open_or_create(tmp_path / name, PLAN.env) for name in ("here", "there"))
    with Workers(0) as workers:
        collect(PLAN, here, workers)
    with one_more(cluster) as node, RayWorkers(RayConfig(ray=True)) as workers:

        def kill() -> None:
            while len(list((tmp_path / "there").glob("data/*/*.parquet"))) < 8:
                time.sleep(0.01)
            cluster.remove_node(node, allow_graceful=False)

        killer = threading.Thread(target=kill)
        killer.start()
        collect(PLAN, there, workers)
        killer.join()
    assert len(there) == 40
    assert list(contents(there).items()) == list(contents(here).items())


@pytest.mark.slow
def test_candidates_are_tried_on_a_cluster_as_they_are_here(cluster):
    env: Any = make_env("deformable/rope-circle-v0")
    env.reset(seed=5)
    state, actions = env.get_state(), env.propose(np.random.default_rng(0), 3)
    env.close()
    config = DeformableConfig()
    here = Trials(config).outcomes(state, actions)
    with RayWorkers(RayConfig(ray=True)) as workers:
        there = Trials(config, workers).outcomes(state, actions)
    np.testing.assert_array_equal(here.qualities, there.qualities)
    np.testing.assert_array_equal(here.states, there.states)
    assert here.problems == there.problems


@pytest.mark.slow
def test_a_command_starts_a_cluster_of_its_own(tmp_path):
    import_extra("ray", "scale")
    words = ["collect", "--env", PLAN.env, "--behaviour", "keep-out", "--num-episodes", "20"]
    assert cli.main([*words, "--num-workers", "0", "--out", str(tmp_path / "here")]) == 0
    # In a process of its own, as the one of the tests is connected to another cluster.
    done = subprocess.run(
        [sys.executable, "-m", "robopref.cli", *words, "--ray", "--out", str(tmp_path / "there")],
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "20 episodes in" in done.stdout
    here, there = (EpisodeStore.open(tmp_path / name) for name in ("here", "there"))
    assert list(contents(there).items()) == list(contents(here).items())


@pytest.mark.slow
def test_a_real_arm_stays_off_the_cluster(cluster, tmp_path):
    plan = replace(PLAN, env="arm-deformable/rope-circle-v0")
    with RayWorkers(RayConfig(ray=True)) as workers, pytest.raises(ValueError) as error:
        collect(plan, EpisodeStore.create(tmp_path / "data", fps=1), workers)
    assert str(error.value) == (
        "'arm-deformable/rope-circle-v0' moves an arm in real time, and workers on a cluster may "
        "begin an episode again. Record it without --ray."
    )
