"""Who may reach a server of this package: this machine alone, or whoever has a token."""

import os
import socket

from robopref.errors import DataError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKEN_VARIABLE = "ROBOPREF_TOKEN"
"""Environment variable of the token; what stands in a command line, anybody here can see."""
MIN_TOKEN = 8


def find_token(given: str | None = None) -> str | None:
    """Return the token that was given, or the environment's; None without one."""
    return given if given is not None else os.environ.get(TOKEN_VARIABLE) or None


def check_token(token: str | None) -> None:
    """Raise if a token is easily guessed.

    Raises:
        ValueError: It is too short.
    """
    if token is not None and len(token) < MIN_TOKEN:
        raise ValueError(f"`token` must have at least {MIN_TOKEN} letters, got {len(token)}.")


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises:
        DataError: The port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, or asyncio would let small replies wait for the other side: 40 ms for each.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise DataError(
            f"The server cannot listen at {host}:{port}: {error.strerror}. Give another port "
            "(--port), or 0 for any that is free."
        ) from error
    return listener
