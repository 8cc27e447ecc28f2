"""Every command's `--help` example runs, one after the other, as a newcomer would run them."""

import inspect
import os
import re
import shlex
import subprocess
import sys

import pytest

from robopref import cli

ORDER = [
    "doctor", "demo", "data info", "data validate", "data compact", "data merge", "collect",
    "query", "answer", "label", "data upgrade-preferences", "data export", "data import",
    "data import-preferences", "train reward", "transfer", "train policy", "policy export",
    "policy import", "train iql", "evaluate", "deploy", "teleop", "serve", "arm check",
    "arm stop", "arm recover", "camera list", "camera show", "camera mount", "camera calibrate",
    "align", "deform", "bench",
]  # fmt: skip
"""Each finds what the ones before it have made."""
TYPED = {"answer": "1\n2\n=\n?\n1\n"}
"""What a person types into a command that asks."""

ENDLESS = {"label": ["--no-browser", "--stop-after", "1"]}
"""What makes a command end that goes on until Ctrl-C."""

NEED_MORE = (
    "teleop ",
    "deploy --robot",
    "camera show --camera opencv",
    "camera calibrate --name wrist --camera",
)
"""Beginnings of examples that need a terminal, an arm or a camera."""


def examples(verb):
    text = (inspect.getdoc(cli.load(verb)) or "").partition("Example")[2]
    lines = re.findall(r"^\s*robopref (.*)$", text, flags=re.MULTILINE)
    return [line for line in lines if not line.startswith(NEED_MORE)]


def test_every_verb_has_its_place():
    assert sorted(ORDER) == sorted(cli.VERBS)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_examples_run(tmp_path):
    for verb in ORDER:
        for line in examples(verb):
            done = subprocess.run(
                [sys.executable, "-m", "robopref.cli", *shlex.split(line), *ENDLESS.get(verb, [])],
                cwd=tmp_path,
                input=TYPED.get(verb, ""),
                capture_output=True,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                check=False,
            )
            assert done.returncode == 0, f"robopref {line}\n{done.stdout}\n{done.stderr}"
            assert done.stdout.strip()
            assert "Traceback" not in done.stderr
