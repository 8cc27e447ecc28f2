"""A PostgreSQL server of our own, for as long as something is measured or tested on it."""

import contextlib
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def find_programs() -> Path | None:
    """Return the folder of the server's programs, as Debian's package installs them."""
    found = [Path(name) for name in sorted(glob.glob("/usr/lib/postgresql/*/bin"))]
    found += [Path(name).resolve().parent for name in [shutil.which("initdb")] if name]
    return found[-1] if found else None


@contextlib.contextmanager
def running_server(programs: Path) -> Iterator[Path]:
    """Run a server on a socket in a temporary folder, and yield the folder."""
    # The server refuses to run as root.
    user = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    if user is not None:
        os.chown(folder, user, -1)
    log = (folder / "log").open("wb")
    run: dict[str, Any] = {"user": user, "cwd": folder, "stdout": log, "stderr": log}
    initdb = [str(programs / "initdb"), "-D", f"{folder}/data", "-A", "trust", "-U", "postgres"]
    subprocess.run([*initdb, "--no-sync", "-E", "UTF8", "--locale=C"], check=True, **run)
    options = ["-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"]
    server = subprocess.Popen([str(programs / "postgres"), "-D", f"{folder}/data", *options], **run)
    try:
        _wait_for(folder)
        yield folder
    finally:
        server.send_signal(signal.SIGQUIT)  # waits for nothing; its data is thrown away
        server.wait(30)
        log.close()
        shutil.rmtree(folder)


def make_database(folder: Path) -> str:
    """Make an empty database and return its URL."""
    import psycopg
    from psycopg import sql

    name = f"made_{time.monotonic_ns()}"
    with psycopg.connect(
        host=str(folder), user="postgres", dbname="postgres", autocommit=True
    ) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return f"postgresql://postgres@/{name}?host={folder}"


def _wait_for(folder: Path) -> None:
    import psycopg

    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(host=str(folder), user="postgres", dbname="postgres").close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
