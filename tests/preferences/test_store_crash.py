"""An acknowledged answer survives kill -9 at any moment."""

import random
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from robopref.preferences.store import PreferenceStore

ANSWER_FOR_EVER = """
import sys, uuid
from robopref.data.segment import Segment
from robopref.preferences import Preference, Query, Ranking
from robopref.preferences.store import PreferenceStore

store = PreferenceStore(sys.argv[1])
print("ready", flush=True)
while True:
    query = Query(str(uuid.uuid4()), (Segment("a", 0, 5), Segment("b", 0, 5)), reason="x" * 500)
    store.add_query(query, cut_hash=lambda segment: "hash")
    answer = Preference(str(uuid.uuid4()), query, Ranking.prefer(1))
    store.answer(answer)
    print(answer.id, flush=True)
"""


def _answer_until_killed(path, seconds):
    """Return the ids that were acknowledged before the kill."""
    process = subprocess.Popen(
        [sys.executable, "-c", ANSWER_FOR_EVER, str(path)], stdout=subprocess.PIPE, text=True
    )
    output = process.stdout
    assert output is not None
    try:
        assert output.readline() == "ready\n"
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(output))
        reader.start()
        time.sleep(seconds)
    finally:
        process.kill()
    reader.join()
    process.wait()
    output.close()
    return {line.strip() for line in lines if line.endswith("\n")}


def _check_kills(path, num_kills):
    rng = random.Random(0)
    acknowledged: set[str] = set()
    for kill in range(1, num_kills + 1):
        acknowledged |= _answer_until_killed(path, rng.uniform(0, 0.3))
        with PreferenceStore(path, create=False) as store:
            stored = {preference.id for preference in store.preferences()}
            assert acknowledged <= stored
            # A kill between the commit and the print leaves one answer more.
            assert len(stored) <= len(acknowledged) + kill
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
    assert len(acknowledged) > num_kills


def test_acknowledged_answers_survive_three_kills(tmp_path):
    _check_kills(tmp_path / "store.sqlite", 3)


@pytest.mark.slow
def test_acknowledged_answers_survive_twenty_kills(tmp_path):
    _check_kills(tmp_path / "store.sqlite", 20)
