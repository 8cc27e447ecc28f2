"""What is refused before anything looks at it: foreign hosts and origins, forgeries, large bodies.

A page of another site can make a browser send requests here. It cannot set a header of its own
without being asked for leave (CORS), which is never given; nor can it, by a name that it points to
this machine (DNS rebinding), send a `Host` that is allowed.
"""

import contextlib
import ipaddress
import json
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from robopref.access import LOOPBACK

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

WILDCARDS = ("0.0.0.0", "::", "")
"""What a server is bound to that listens at every address of its machine."""
ELSEWHERE = ("203.0.113.1", "2001:db8::1")
"""Addresses that no machine has (RFC 5737, RFC 3849), to ask which way packets would leave."""
SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""
BODY_TYPES = ("application/json", "application/x-ndjson")
"""Kinds of bodies; none of them can be sent by a form of another site."""
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
        b"style-src 'self'; object-src 'none'; base-uri 'none'; "
        b"form-action 'self'; frame-ancestors 'none'",
    ),
)


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused.

    Args:
        status: HTTP status.
        code: In one word.
        message: In a sentence.
    """

    status: int
    code: str
    message: str


class Guard:
    """Lets through what may come.

    Args:
        app: What is guarded.
        hosts: Names and addresses under which this server may be called, without the port; one
            of `WILDCARDS` stands for every address.
        max_body: Largest body of a request [bytes].
        max_import: The same of what is imported by who is signed in.
        is_signed_in: Says so of who makes a request; bodies are read before routes look at that.
    """

    def __init__(
        self, app: App, hosts: tuple[str, ...], *, max_body: int = 2**20, max_import: int = 2**26,
        is_signed_in: Callable[[Scope], Awaitable[bool]] | None = None,
    ) -> None:  # fmt: skip
        self.app = app
        self.hosts = {host.lower() for host in hosts if host}
        self.any_address = not set(WILDCARDS).isdisjoint(hosts)
        self.proxied: set[str] = set()
        self.max_body = max_body
        self.max_import = max_import
        self.is_signed_in = is_signed_in

    def behind(self, names: Iterable[str]) -> "Guard":
        """Answer to further names too, such as that of a proxy with TLS; return the guard.

        The proxy passes on `Host`, with the port or without (nginx: `proxy_set_header Host $host;`;
        its own default, the address of this server, will do as well), and `Origin`, `Cookie` and
        `X-Robopref`, which proxies leave as they are. The pages' origin is then https://NAME at
        some port, of which `Host` need not tell.
        """
        self.proxied |= {name.lower() for name in names}
        self.hosts |= self.proxied
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on with a limit on its body and headers on its answer."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # Nothing here speaks WebSocket.
            return
        refusal = self.judge(scope)
        if refusal is not None:
            await _refuse(refusal, send)
            return
        limit, refusal = await self._limit(scope)
        if _length(scope) > limit:
            await _refuse(refusal, send)
            return
        body = _Body(receive, limit)

        async def send_with_headers(message: Message) -> None:
            if body.too_large:
                # What read the body made its own answer of that; this one says what is wrong.
                if message["type"] == "http.response.start":
                    await _refuse(refusal, send)
                return
            if message["type"] == "http.response.start":
                message["headers"] = _with_headers(scope["path"], message.get("headers", []))
            await send(message)

        await self.app(scope, body.receive, send_with_headers)

    async def _limit(self, scope: Scope) -> tuple[int, Refusal]:
        """Return how large a request's body may be, and what is said to a larger one."""
        if not scope["path"].startswith("/api/import/"):
            return self.max_body, _too_large(self.max_body)
        if self.is_signed_in is None or await self.is_signed_in(scope):
            return self.max_import, _too_large(self.max_import)
        return self.max_body, Refusal(
            401, "signed-out", "Sign in first: POST /api/session with your name."
        )

    def judge(self, scope: Scope) -> Refusal | None:
        """Return why a request is refused by its head alone, or None."""
        headers = {key.lower(): value for key, value in scope["headers"]}
        hosts = [value for key, value in scope["headers"] if key.lower() == b"host"]
        if len(hosts) != 1 or not self._is_called(_host_name(hosts[0].decode("latin-1"))):
            return Refusal(
                421, "foreign-host",
                "This server is not called by that name. Open it by the address that it printed.",
            )  # fmt: skip
        origin = headers.get(b"origin")
        if origin is not None and not self._is_own(origin.decode("latin-1"), hosts[0]):
            return Refusal(403, "foreign-origin", "Requests of other sites' pages are refused.")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            return Refusal(400, "bad-length", "Content-Length must be a number.")
        if scope["method"] in SAFE:
            return None
        return self._judge_write(headers, has_body=length != b"0")

    def _judge_write(self, headers: dict[bytes, bytes], *, has_body: bool) -> Refusal | None:
        if headers.get(b"x-robopref") != b"1":
            return Refusal(
                403, "not-from-the-page", "A request that writes needs the header X-Robopref: 1."
            )
        kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip()
        if (has_body or b"transfer-encoding" in headers) and kind.lower() not in BODY_TYPES:
            return Refusal(415, "wrong-type", f"The body must be one of {list(BODY_TYPES)}.")
        return None

    def _is_called(self, name: str) -> bool:
        # An address needs no look-up: unlike a name it cannot first lead to a foreign page and then
        # to this machine (DNS rebinding). So all are taken, also those that a router translates.
        return name in self.hosts or (self.any_address and _is_address(name))

    def _is_own(self, origin: str, host: bytes) -> bool:
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        if parts.scheme == "https" and parts.hostname in self.proxied:
            return True
        return (
            parts.scheme in ("http", "https")
            and parts.netloc.lower() == host.decode("latin-1").lower()
        )


def allowed_hosts(bind: str) -> tuple[str, ...]:
    """Return the names under which a server bound to `bind` may be called, for `Guard`."""
    if bind in LOOPBACK:
        return LOOPBACK
    import socket

    return tuple(sorted({bind, socket.gethostname(), *LOOPBACK}))


def reachable_name(bind: str) -> str:
    """Return the address by which others call a server bound to `bind`, or else the host's name."""
    if bind not in WILDCARDS:
        return bind
    import socket

    for address in ELSEWHERE:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))  # This sends nothing.
            return str(probe.getsockname()[0])
    return socket.gethostname()


def check_host_name(argument: str, name: str) -> None:
    """Refuse what cannot stand in `Host` without its port.

    Raises:
        ValueError: It has a scheme, a port or a path, or it is empty.
    """
    if not (_is_address(name) or re.fullmatch(r"[A-Za-z0-9_.-]+", name)):
        raise ValueError(
            f"`{argument}` must be a name without scheme and port, such as label.example.org, got "
            f"'{name}'."
        )


def is_loopback(bind: str) -> bool:
    """Return whether only programs of this machine reach a server bound to `bind`."""
    return bind in LOOPBACK


def _host_name(host: str) -> str:
    """Return a host without its port, in lower case; empty if it is none."""
    if host.startswith("["):
        name, closed, port = host[1:].partition("]")
        port = port.removeprefix(":")
        valid = bool(closed)
    else:
        name, _, port = host.partition(":")
        valid = True
    return name.lower() if valid and (not port or port.isdigit()) else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class _Body:
    """A body that ends once it is larger than the limit, whatever length was announced."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._left = limit
        self.too_large = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.too_large = True
            return {"type": "http.disconnect"}
        return message


def _length(scope: Scope) -> int:
    """Return the length that a body is announced to have; it is a number by now."""
    lengths = [value for key, value in scope["headers"] if key.lower() == b"content-length"]
    return int(lengths[-1]) if lengths else 0


def _with_headers(path: str, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    present = {key.lower() for key, _ in headers}
    added = [*headers, *((key, value) for key, value in HEADERS if key not in present)]
    if path.startswith("/api/") and b"cache-control" not in present:
        added.append((b"cache-control", b"no-store"))
    return added


def _too_large(limit: int) -> Refusal:
    return Refusal(413, "too-large", f"The body must not be larger than {limit} bytes.")


async def _refuse(refusal: Refusal, send: Send) -> None:
    body = json.dumps({"error": {"code": refusal.code, "message": refusal.message}}).encode()
    headers = [
        (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"), (b"cache-control", b"no-store"), *HEADERS,
    ]  # fmt: skip
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
