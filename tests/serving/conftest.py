import asyncio
import contextlib
import threading

import pytest

from robopref.serving.messages import Served
from robopref.serving.server import PolicyServer, PolicyServerConfig


@pytest.fixture
def serve():
    """Return a function that serves a policy in a thread and returns the server and its address."""
    running = []

    def start(policy, **options):
        address: list[str] = []
        ready = threading.Event()
        config = PolicyServerConfig(port=0, **options)
        server = PolicyServer(policy, Served.of(policy, "the policy"), config)

        async def run():
            task = asyncio.current_task()
            assert task is not None
            running.append((asyncio.get_running_loop(), task, thread))

            def announce(where):
                address.append(where)
                ready.set()

            with contextlib.suppress(asyncio.CancelledError):
                await server.run(announce=announce, stop_after_s=None)

        thread = threading.Thread(target=lambda: asyncio.run(run()))
        thread.start()
        assert ready.wait(10)
        return server, address[0]

    yield start
    for loop, task, thread in running:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
