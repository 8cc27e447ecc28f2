import os
import subprocess
import sys

import pytest

from robopref.hardware.priority import NICE

PROGRAM = """
import os, threading
from robopref.hardware.priority import take_priority
before = os.nice(0)
is_real_time = take_priority()
others = []
thread = threading.Thread(target=lambda: others.append(os.sched_getscheduler(0)))
thread.start()
thread.join()
child = os.fork()
if child == 0:
    os._exit(os.sched_getscheduler(0) != os.SCHED_OTHER)
others.append(os.WEXITSTATUS(os.waitpid(child, 0)[1]))
own = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
print(is_real_time, own == os.SCHED_FIFO, *others, os.nice(0) - before)
"""


@pytest.mark.skipif(not hasattr(os, "SCHED_FIFO"), reason="this system has no real-time priority")
def test_only_the_thread_that_asks_gets_priority():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    said, is_so, thread, child, nicer = done.stdout.split()
    assert said == is_so
    assert (thread, child) == ("0", "0")
    # Where real time is not permitted, a greater share is asked for and may be refused too.
    assert int(nicer) in ((0,) if said == "True" else (0, NICE))
