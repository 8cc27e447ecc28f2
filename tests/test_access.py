"""Tests of what servers listen at."""

import asyncio
import socket

from robopref.access import bind


def test_small_replies_are_sent_at_once():
    async def ask():
        delays = []

        async def reply(_reader, writer):
            connection = writer.get_extra_info("socket")
            delays.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = bind("127.0.0.1", 0)
        async with await asyncio.start_server(reply, sock=listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            await reader.read()
            writer.close()
        return delays

    assert asyncio.run(ask()) == [1]
