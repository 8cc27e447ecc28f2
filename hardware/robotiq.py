"""A gripper of Robotiq's on an arm of Universal Robots, by the socket that its URCap opens.

Lines of text go over it: "GET POS" is answered by "POS 3", "SET POS 255" by "ack". A gripper is
activated at the pendant, since it opens and closes once by itself then.

References:
    [1] Robotiq, 2F-85 and 2F-140 instruction manual for e-Series Universal Robots, control over
        the URCap's socket: the variables are the registers of its chapter on control.
"""

import re
import select
import socket

from robopref.errors import HardwareError

PORT = 63352
ANSWER_S = 1.0
"""How long the URCap may take to answer [s]."""
REST_S = 0.01
"""A number may come in two parts, and without a line's end; the second comes within this time [s].
"""
ACTIVE = 3
"""Of the variable STA: activated."""
MOST = 255
"""Greatest position (closed), speed and force."""


class RobotiqHand:
    """Speaks to the gripper.

    Args:
        address: The controller's IP address or host name.
        ends: Positions when open and when closed, as the gripper counts them.
        speed: Share of its greatest speed.
        force: Share of its greatest force.
        port: Of the URCap.

    Raises:
        HardwareError: The URCap does not answer, or the gripper is not active or has a fault.
    """

    def __init__(
        self, address: str, ends: tuple[int, int], speed: float, force: float, port: int = PORT
    ) -> None:
        self._ends = ends
        self._pace = f"SPE {round(MOST * speed)} FOR {round(MOST * force)}"
        try:
            self._line = socket.create_connection((address, port), ANSWER_S)
        except OSError as error:
            raise HardwareError(
                f"No gripper answers at {address}:{port}: {error}. Is Robotiq's URCap installed, "
                "and the gripper chosen in it? Without one: gripper=False."
            ) from error
        try:
            self._check()
        except BaseException:
            self._line.close()
            raise

    def opening(self) -> float:
        """Return how far it is open."""
        wide, closed = self._ends
        return (closed - self._get("POS")) / (closed - wide)

    def is_free(self) -> bool:
        """Return that a new opening takes the place of the last at any time."""
        return True

    def go_to(self, opening: float) -> None:
        """Begin to open or close."""
        wide, closed = self._ends
        place = round(closed + opening * (wide - closed))
        # In one line: taken one by one, it would begin with the pace of before.
        self._set(f"POS {place} {self._pace} GTO 1")

    def close(self) -> None:
        """Stop the fingers, and close the connection."""
        try:
            self._set("GTO 0")
        finally:
            self._line.close()

    def _check(self) -> None:
        fault = self._get("FLT")
        if self._get("STA") != ACTIVE:
            raise HardwareError(
                "The gripper is not active. Activate it at the pendant, under Installation, "
                "URCaps, Gripper: it opens and closes once then."
            )
        if fault:
            raise HardwareError(
                f"The gripper has the fault {fault}, which its manual explains. Activate it anew "
                "at the pendant, under Installation, URCaps, Gripper."
            )

    def _get(self, name: str) -> int:
        answer = self._ask(f"GET {name}").split()
        if len(answer) != 2 or answer[0] != name or not answer[1].isdecimal():
            raise HardwareError(f"The gripper answers '{' '.join(answer)}' to 'GET {name}'.")
        return int(answer[1])

    def _set(self, values: str) -> None:
        answer = self._ask(f"SET {values}")
        if answer != "ack":
            raise HardwareError(f"The gripper answers '{answer}' to 'SET {values}'.")

    def _ask(self, text: str) -> str:
        self._line.sendall(f"{text}\n".encode("ascii"))
        answer = ""
        while not self._is_whole(answer):
            if not select.select([self._line], [], [], ANSWER_S)[0]:
                if answer:
                    break
                raise HardwareError(f"The gripper does not answer to '{text}'.")
            part = self._line.recv(1024)
            if not part:
                raise HardwareError("The URCap has closed its connection to the gripper.")
            answer += part.decode("ascii", "replace")
        return answer.strip()

    def _is_whole(self, answer: str) -> bool:
        """Return whether nothing more belongs to an answer, whose line need not have an end."""
        if answer.endswith("\n") or answer == "ack":
            return True
        is_number = re.fullmatch(r"[A-Z]{3} \d+", answer) is not None
        return is_number and not select.select([self._line], [], [], REST_S)[0]
