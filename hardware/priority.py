"""Time on a processor for what must not be late."""

import contextlib
import os

REAL_TIME = 10
"""Priority among what runs in real time: low, below what the system itself needs."""
NICE = -10
"""What is asked for where real time is not permitted."""


def take_priority() -> bool:
    """Let this thread run before all that is not in real time; return whether that is permitted.

    Where it is not, it only gets a greater share. Processes and threads that it starts get neither:
    what a driver does beside the loop is not as urgent.
    """
    with contextlib.suppress(AttributeError, PermissionError):
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(REAL_TIME))
        return True
    with contextlib.suppress(PermissionError):
        os.nice(NICE)
    return False
