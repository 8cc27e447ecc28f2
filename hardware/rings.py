"""Records passed between processes through shared memory, which a killed process cannot block.

One process writes, any number read. There is no lock: a record carries the number of its writing,
before and after, and a reader that finds them different reads again. So a writer that is killed in
the middle leaves its last whole record, and a reader never waits.
"""

from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

from robopref.errors import HardwareError

MAX_TRIES = 1000
"""A reader that finds a record half-written so often has found a dead writer's."""


class Ring:
    """The newest records of one writer.

    Args:
        fields: What a record holds.
        capacity: Records kept.
        name: Of an existing ring; None makes one.
    """

    def __init__(self, fields: np.dtype[Any], capacity: int, name: str | None = None) -> None:
        slot = np.dtype([("begun", np.uint64), ("record", fields), ("done", np.uint64)])
        self.fields, self.capacity = fields, capacity
        size = 64 + slot.itemsize * capacity
        self._memory = SharedMemory(name, create=name is None, size=size)
        self._is_owner = name is None
        buffer = self._memory.buf
        self._count: np.ndarray[Any, Any] = np.ndarray((1,), np.uint64, buffer)
        self._slots: np.ndarray[Any, Any] = np.ndarray((capacity,), slot, buffer, offset=64)
        if name is None:
            self._count[0] = 0
            self._slots["begun"] = self._slots["done"] = 0

    @property
    def name(self) -> str:
        """Name under which another process opens it."""
        return self._memory.name

    @property
    def count(self) -> int:
        """How many records were written."""
        return int(self._count[0])

    def write(self, record: Any) -> None:
        """Add a record: a tuple of its fields, or a numpy record."""
        number = self.count + 1
        slot = self._slots[(number - 1) % self.capacity]
        slot["begun"] = number
        slot["record"] = record
        slot["done"] = number
        self._count[0] = number

    def newest(self) -> np.void | None:
        """Return a copy of the newest record; None before the first.

        Raises:
            HardwareError: The writer died while it wrote, and there is no older record.
        """
        for _ in range(MAX_TRIES):
            number = self.count
            if number == 0:
                return None
            found = self._read(number)
            if found is not None:
                return found
        raise HardwareError("The process that writes is gone in the middle of a record.")

    def since(self, count: int) -> tuple[int, list[np.void]]:
        """Return the number of records written so far, and those after the first `count`.

        Records that were overwritten in the meantime are left out.
        """
        number = self.count
        first = max(count, number - self.capacity) + 1
        found = [self._read(each) for each in range(first, number + 1)]
        return number, [record for record in found if record is not None]

    def close(self) -> None:
        """Let go of the memory; the process that made the ring frees it."""
        del self._count, self._slots
        self._memory.close()
        if self._is_owner:
            self._memory.unlink()

    def _read(self, number: int) -> np.void | None:
        slot = self._slots[(number - 1) % self.capacity]
        if int(slot["done"]) != number:
            return None
        record: np.void = slot["record"].copy()
        return record if int(slot["begun"]) == number else None
