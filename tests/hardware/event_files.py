"""Files that events of the kernel come out of, with the sizes that the kernel gives them."""

import fcntl
import os
import time

from robopref.hardware.gamepad import ABS_INFO, EV_ABS, EV_KEY, EV_SYN, EVENT

SHOULDER = 0x137


class Pipe:
    """A named pipe as a device's file; each write comes out as one read, as of a HID device."""

    def __init__(self, folder, name="event7"):
        self.path = folder / name
        os.mkfifo(self.path)
        # Open to read as well, so that the device may come and go.
        self._line = os.open(self.path, os.O_RDWR)
        self._end = os.open(self.path, os.O_WRONLY)
        fcntl.fcntl(self._end, fcntl.F_SETFL, os.O_WRONLY | os.O_DIRECT)

    def write(self, *reports):
        for report in reports:
            os.write(self._end, report)

    def unplug(self):
        os.close(self._line)
        os.close(self._end)


def event(kind, code, value):
    return EVENT.pack(1764216000, 125000, kind, code, value)


def report(*events):
    return b"".join([event(*each) for each in events]) + event(EV_SYN, 0, 0)


def key(code, value=1):
    return (EV_KEY, code, value)


def stick(code, value):
    return (EV_ABS, code, value)


def range_of_sticks(low, high):
    """Return what the kernel answers when it is asked how far an axis goes (EVIOCGABS)."""

    def ioctl(descriptor, request, content):
        os.fstat(descriptor)
        assert request & ~0x3F == 0x80184540, hex(request)
        assert len(content) == ABS_INFO.size
        return ABS_INFO.pack((low + high) // 2, low, high, 0, 0, 0)

    return ioctl


def with_range(monkeypatch, low=-32768, high=32767):
    monkeypatch.setattr(fcntl, "ioctl", range_of_sticks(low, high))


def wait_for(what):
    end = time.monotonic() + 3
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)
