"""How the command ends what it started."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from robopref.labeling.client import Client


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_end_takes_its_processes_along(tmp_path, data, how):
    command = [
        sys.executable, "-m", "robopref.cli", "label", "--data", str(data),
        "--db", str(tmp_path / "p.sqlite"), "--out", str(tmp_path / "out"), "--port", "0",
        "--no-browser", "--segment-length", "6",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1].partition("?")[0].rstrip("/")
        with Client(address, "ann") as client:
            assert client.clip(client.next()["query"], 0)[4:8] == b"ftyp"
        children = psutil.Process(server.pid).children(recursive=True)
        assert children
        server.send_signal(how)
        said = server.stdout.read()
        assert server.wait(30) == 0
    assert "Labels by 'overall'" in said
    _, left = psutil.wait_procs(children, timeout=0.5)
    # Where nothing else takes them away, what has ended stays listed.
    assert [each for each in left if each.status() != psutil.STATUS_ZOMBIE] == []
