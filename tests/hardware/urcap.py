"""A stand-in for Robotiq's URCap: a server that speaks its lines, with a gripper behind it."""

import contextlib
import socket
import threading


class URCap:
    """Listens on a free port of this machine until `close`."""

    def __init__(self):
        self.values = {"STA": 3, "FLT": 0, "POS": 3, "SPE": 0, "FOR": 0, "GTO": 0, "ACT": 1}
        self.heard = []
        self.ends_lines = True
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._lines = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        """Go away, with every connection."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        for line in (self._server, *self._lines):
            line.close()

    def cut(self):
        """Cut the connections, as a controller does that is switched off."""
        for line in self._lines:
            line.shutdown(socket.SHUT_RDWR)

    def _serve(self):
        while True:
            try:
                line, _ = self._server.accept()
            except OSError:
                return
            self._lines.append(line)
            threading.Thread(target=self._talk_until_it_goes, args=(line,), daemon=True).start()

    def _talk_until_it_goes(self, line):
        with contextlib.suppress(OSError):
            self._talk(line)

    def _talk(self, line):
        for text in line.makefile("r", encoding="ascii"):
            self.heard.append(text.strip())
            answer = self._answer(*text.split())
            # The real one ends some lines, and acknowledges without an end.
            end = "\n" if self.ends_lines and answer != "ack" else ""
            for part in (answer[:2], answer[2:] + end):
                line.sendall(part.encode("ascii"))

    def _answer(self, verb, *words):
        if verb == "GET" and words[0] in self.values:
            return f"{words[0]} {self.values[words[0]]}"
        if verb != "SET":
            return "?"
        asked = dict(zip(words[::2], map(int, words[1::2]), strict=True))
        if not asked.keys() <= self.values.keys():
            return "?"
        self.values |= asked
        return "ack"
