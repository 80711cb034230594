"""One GET over one checked connection: https, to the public internet, cut off at a deadline.

Chosen: the name is resolved once a hop, every address that comes back must be public, and that
very address is dialled, so a name that resolves elsewhere a moment later gains nothing. The
certificate is checked against the name. A timer hangs up at the deadline, so a server that drips a
byte a second, in the handshake, the headers or the body, holds nobody. What it costs: proxies are
not used, for there the proxy resolves, and a name with one public and one private address is
refused altogether.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable

from mulgil.errors import FetchError

_CHUNK = 1 << 16
_HOPS = 5
_PORTS = {"https": 443, "http": 80}
_MOVED = (301, 302, 303, 307, 308)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_UNICAST = ipaddress.IPv6Network("2000::/3")


class TryAgainError(Exception):
    """This attempt failed in a way that the next one may not."""


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the public internet, whatever it is wrapped in."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
        inner = inner or ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None:
            return is_public(str(inner))
        if ip not in _UNICAST:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """What a download may do. Tests make other ones; no setting and no variable does."""

    schemes: tuple[str, ...] = ("https",)
    allowed: Callable[[str], bool] = is_public
    attempts: int = 4
    pause: float = 1.0
    """Seconds before the second attempt; twice as many before each one after it."""
    silence: float = 30.0
    """Seconds without a byte after which an attempt has failed."""
    grace: float = 120.0
    """Seconds that any download may take, attempts and pauses included."""
    slowest: float = 50_000.0
    """Bytes a second, for the time that it may take besides."""


RULES = Rules()


def follow(url: str, offset: int, deadline: float) -> Line:
    """Ask for the bytes from `offset` on, through a few redirects, each checked like the first.

    Args:
        url: the address.
        offset: first byte that is wanted; 0 asks for the whole.
        deadline: `time.monotonic()` at which the line is cut.

    Raises:
        FetchError: an address is refused or unknown, or redirects go in circles.
        TryAgainError: the line broke.
    """
    for _ in range(_HOPS + 1):
        line = Line(url, offset, deadline)
        if line.status not in _MOVED:
            return line
        line.close()
        url = _joined(url, line.header("Location"))
    raise FetchError(f"{shown(url)}: more than {_HOPS} redirects")


class Line:
    """The answer to one GET, its body still to be read.

    Attributes:
        url: the address, for messages.
        status: HTTP status.
        length: bytes that the body is said to have, or None.
    """

    def __init__(self, url: str, offset: int, deadline: float) -> None:
        self.url = shown(url)
        parts = _checked(url)
        host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
        self._plug = _dialled(_resolved(self.url, host, port), deadline)
        self._timer = threading.Timer(max(0.0, deadline - time.monotonic()), self._hang_up)
        self._timer.daemon = True
        self._timer.start()
        try:
            if parts.scheme == "https":
                self._plug = ssl.create_default_context().wrap_socket(
                    self._plug, server_hostname=host, do_handshake_on_connect=False
                )
                self._plug.do_handshake()
            self._answer = _asked(self._plug, parts, offset)
        except ssl.SSLCertVerificationError as error:
            self._release()
            raise FetchError(
                f"{self.url}: its certificate is not trusted ({error.verify_message});"
                " nothing was fetched"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            self._release()
            raise TryAgainError(_reason(error)) from error
        self.status = self._answer.status
        self.length = self._left = self._answer.length

    def header(self, name: str) -> str:
        """Return a header's value, "" when it is absent."""
        return self._answer.getheader(name) or ""

    def read(self) -> bytes:
        """Return the next piece of the body, as it comes; b"" at the end, or where it was cut.

        Raises:
            TryAgainError: the line broke.
        """
        wanted = _CHUNK if self._left is None else min(_CHUNK, self._left)
        try:
            # A piece as it comes: a full one would be lost whole when the line breaks.
            chunk = self._answer.read1(wanted) if wanted else b""
        except (OSError, http.client.HTTPException) as error:
            raise TryAgainError(_reason(error)) from error
        if self._left is not None:
            self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        """Let the line go."""
        self._answer.close()
        self._release()

    def _release(self) -> None:
        self._timer.cancel()
        self._plug.close()

    def _hang_up(self) -> None:
        # Past the TLS layer: its own shutdown would pull the state from under a reading thread.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._plug, socket.SHUT_RDWR)


def shown(url: str) -> str:
    """Return an address on one short line, for messages."""
    text = url if url.isprintable() else ascii(url)
    return text if len(text) <= 200 else text[:197] + "..."


def _reason(error: BaseException) -> str:
    return f"the line broke ({type(error).__name__}: {error})"


def _joined(url: str, location: str) -> str:
    try:
        return urllib.parse.urljoin(url, location)
    except ValueError:
        raise FetchError(f"{shown(url)}: redirects to a malformed address") from None


def _checked(url: str) -> urllib.parse.SplitResult:
    """Return the parts of an address that may be asked."""
    try:
        parts = urllib.parse.urlsplit(url)
        port_is_valid = parts.port != 0
    except ValueError:
        raise FetchError(f"{shown(url)}: not an address") from None
    if parts.scheme not in RULES.schemes:
        raise FetchError(f"{shown(url)}: only https addresses are fetched")
    plain = url.isascii() and not re.search(r"[\x00-\x20\x7f\\]", url)
    if not (plain and port_is_valid and parts.hostname) or "@" in parts.netloc:
        raise FetchError(f"{shown(url)}: not a plain address of the form https://host/path")
    return parts


def _resolved(url: str, host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """Return the addresses of a host, all of them public."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchError(f"{url}: {host} is not found ({error}); check the network") from error
    addresses = [(family, sockaddr) for family, _, _, _, sockaddr in found]
    for _, sockaddr in addresses:
        if not RULES.allowed(str(sockaddr[0])):
            raise FetchError(
                f"{url}: leads to {sockaddr[0]}, which is not an address of the public internet"
            )
    return addresses  # type: ignore[return-value]


def _dialled(
    addresses: list[tuple[socket.AddressFamily, tuple[str, int]]], deadline: float
) -> socket.socket:
    """Return a connection to the first address that answers; nothing is resolved again."""
    problem: OSError = OSError("no address")
    for family, sockaddr in addresses:
        plug = socket.socket(family, socket.SOCK_STREAM)
        plug.settimeout(max(0.1, min(RULES.silence, deadline - time.monotonic())))
        try:
            plug.connect(sockaddr)
        except OSError as error:
            plug.close()
            problem = error
        else:
            return plug
    raise TryAgainError(_reason(problem)) from problem


def _asked(
    plug: socket.socket, parts: urllib.parse.SplitResult, offset: int
) -> http.client.HTTPResponse:
    """Send the request and return the answer, its headers read."""
    headers = {
        "Host": parts.netloc,
        "User-Agent": "mulgil",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    if offset:
        headers["Range"] = f"bytes={offset}-"
    connection = http.client.HTTPConnection(str(parts.hostname), 0)
    connection.sock = plug
    path = parts.path or "/"
    connection.request("GET", f"{path}?{parts.query}" if parts.query else path, headers=headers)
    return connection.getresponse()
