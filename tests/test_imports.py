"""What importing robopref does, and does not do. Each import happens in a fresh Python."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WITHOUT_TORCH = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("torch is blocked here")
sys.meta_path.insert(0, Block())
"""


def run(script, cwd=ROOT):
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=cwd, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def modules_of(package):
    folder = ROOT / "robopref" / package
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    return [f"robopref.{package}", *(f"robopref.{package}.{name}" for name in names)]


def test_importing_robopref_takes_under_300_ms_and_loads_nothing_heavy():
    script = """
import json, sys, time
start = time.process_time()
import robopref
print(json.dumps([time.process_time() - start, sorted(sys.modules)]))
"""
    seconds, loaded = json.loads(run(script))
    assert seconds < 0.3
    assert not {"torch", "numpy", "gymnasium", "mujoco", "matplotlib"} & set(loaded)


def test_importing_every_shared_module_changes_nothing_global():
    """Random states, threads, environment, folders and signals stay what they were."""
    script = """
import os, random, signal, sys, threading
import numpy as np, torch
def look():
    return (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(),
            torch.get_num_threads(), torch.get_default_dtype(), dict(os.environ), os.getcwd(),
            threading.active_count(), signal.getsignal(signal.SIGINT), sorted(os.listdir(".")))
before = look()
import robopref, robopref.config, robopref.checkpoint, robopref.trainer, robopref.tracker
import robopref.nn, robopref.protocols, robopref.statistics, robopref.seeding, robopref.progress
import robopref.data, robopref.preferences, robopref.envs, robopref.policies, robopref.rewards
import robopref.hardware, robopref.align, robopref.cli
after = look()
assert before == after, [i for i, (a, b) in enumerate(zip(before, after)) if a != b]
"""
    run(script)


@pytest.mark.parametrize("package", ["data", "preferences"])
def test_data_and_preferences_need_no_torch(package):
    imports = "\n".join(f"import {name}" for name in modules_of(package))
    loaded = run(f"{WITHOUT_TORCH}\n{imports}\nprint('torch' in sys.modules)")
    assert loaded == "False"


def test_parts_are_cheap_to_import():
    """A part only names its components; what they need is imported when one is used."""
    script = """
import sys
import robopref.envs, robopref.policies, robopref.rewards, robopref.hardware
print(sorted({"torch", "mujoco", "metaworld", "diffusers", "av"} & set(sys.modules)))
"""
    assert run(script) == "[]"


@pytest.mark.parametrize("part", ["envs", "policies", "rewards", "hardware"])
def test_a_part_under_its_bare_name_is_refused(part):
    script = f"""
try:
    import {part}
except ImportError as error:
    print(error)
"""
    assert run(script) == (
        f"Import robopref.{part}, not {part}: two names would make two copies of every class."
    )


def test_a_part_has_one_module_object():
    script = """
import robopref.rewards.losses as one
import importlib
other = importlib.import_module("robopref.rewards.losses")
import sys
copies = [name for name, module in sys.modules.items()
          if getattr(module, "__file__", None) == one.__file__]
print(one is other, copies)
"""
    assert run(script) == "True ['robopref.rewards.losses']"
