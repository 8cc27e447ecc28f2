"""A terminal whose keys are pressed by a program."""

import contextlib
import os
import pty
import sys


class Terminal:
    """Stands in for the terminal of this process while it is used with `with`."""

    def __enter__(self):
        self._ours, theirs = pty.openpty()
        self._before, sys.stdin = sys.stdin, os.fdopen(theirs)
        return self

    def __exit__(self, *_):
        sys.stdin.close()
        sys.stdin = self._before
        with contextlib.suppress(OSError):
            os.close(self._ours)

    def press(self, keys):
        os.write(self._ours, keys.encode())
