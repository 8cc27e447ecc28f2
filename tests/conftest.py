"""Fixtures for all tests: one thread, seeded generators, a home of their own, no network."""

import os
import socket

# Before the first import of mujoco or matplotlib, which read these once.
os.environ.setdefault("MUJOCO_GL", "egl")
os.environ["MPLBACKEND"] = "Agg"
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest
import torch
from hypothesis import settings

# No deadline: the first call of compiled code, or a busy machine, is no failure. The same examples
# each time: a failure seen once is seen again.
settings.register_profile("robopref", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("robopref")

LOOPBACK = {"localhost", "127.0.0.1", "::1", "0.0.0.0", ""}


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _home(tmp_path_factory, monkeypatch):
    """Keep every test away from the user's home and its caches."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("ROBOPREF_DEBUG", raising=False)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """Let sockets reach this machine only."""
    connect, getaddrinfo = socket.socket.connect, socket.getaddrinfo

    def check(host):
        is_here = str(host) in LOOPBACK or str(host).startswith("127.")
        if host is not None and not is_here:
            raise RuntimeError(f"Tests use no network; this one wanted {host!r}.")

    def guarded_connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            check(address[0])
        return connect(self, address)

    def guarded_getaddrinfo(host, *args, **kwargs):
        check(host)
        return getaddrinfo(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return the folder of a hub that the client of huggingface_hub talks to."""
    from huggingface_hub import constants

    from tests.fake_hub import serve

    root = tmp_path / "hub"
    with serve(root) as endpoint:
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        # Its transfer service is another protocol; without it the client sends the files itself.
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield root
