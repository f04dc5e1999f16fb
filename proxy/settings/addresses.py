"""Where to listen and where upstreams are: parsed once, typed afterwards.

Pure: no name is resolved here. Each parser raises ValueError with a sentence that does not repeat its input.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\.?|[A-Za-z0-9_]", re.ASCII)
_LONGEST_SOCKET_PATH: Final = 107  # bytes in sockaddr_un.sun_path, less its NUL

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A TCP place to listen. Port 0 lets the system choose; an IPv6 host has no brackets here."""

    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"{_bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A Unix domain socket to listen on."""

    path: str

    @property
    def is_local(self) -> bool:
        """Always: the file system guards it."""
        return True

    def __str__(self) -> str:
        return f"unix:{self.path}"


ListenAddress = TcpAddress | UnixAddress


@dataclass(frozen=True, slots=True)
class UpstreamUrl:
    """Where a source is. `base_path` is "" or starts with "/" and has no trailing slash, kept as written.

    `host` (IPv6 without brackets) and `port` are "" and 0 for `unix`; `socket_path` is "" for the others.
    """

    scheme: Literal["http", "https", "unix"]
    host: str
    port: int
    base_path: str = ""
    socket_path: str = ""

    @property
    def authority(self) -> str:
        """The `Host` this upstream expects; the port is left out when it is the scheme's own."""
        if self.scheme == "unix":
            return "localhost"
        default = self.port == _DEFAULT_PORTS[self.scheme]
        return _bracketed(self.host) if default else f"{_bracketed(self.host)}:{self.port}"

    @property
    def is_name(self) -> bool:
        """Whether `host` is a name, which may come to mean another address."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return self.scheme != "unix"
        return False

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix:{self.socket_path}"
        return f"{self.scheme}://{self.authority}{self.base_path}"


def parse_listen(text: str) -> ListenAddress:
    """Read `host:port`, `[::1]:port` or `unix:/path`."""
    if text.startswith("unix:"):
        return UnixAddress(_socket_path(text))
    expected = "expected host:port (0.0.0.0:8080, [::1]:8080) or unix:/path"
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise ValueError(expected)
    if host.startswith("[") != host.endswith("]") or (":" in host and not host.startswith("[")):
        raise ValueError("expected an IPv6 address in brackets, such as [::1]:8080")
    return TcpAddress(_host(host, expected), _port(port, lowest=0))


def parse_upstream(text: str) -> UpstreamUrl:
    """Read `http://…`, `https://…` (their path is the base path) or `unix:/path`."""
    if text.startswith("unix:"):
        return UpstreamUrl("unix", "", 0, socket_path=_socket_path(text))
    expected = "expected a URL such as http://127.0.0.1:3000, https://host/base or unix:/path"
    # urlsplit drops tabs and newlines instead of refusing them, so they are refused first
    if not text or not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise ValueError(f"{expected}, without spaces or non-ASCII characters")
    scheme, separator, _ = text.partition("://")
    if not separator:
        raise ValueError(expected)
    if scheme not in ("http", "https"):
        raise ValueError("expected a URL with the scheme http, https or unix")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError(expected) from None
    _refuse_extras(text, parts.netloc)
    host, port = _split_authority(parts.netloc, expected)
    known: Literal["http", "https"] = "https" if scheme == "https" else "http"
    return UpstreamUrl(known, _host(host, expected), port or _DEFAULT_PORTS[scheme], base_path=_base_path(parts.path))


def parse_network(text: str) -> IpNetwork:
    """Read a CIDR (`10.0.0.0/8`) or a single address."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        whole = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("expected an address range such as 10.0.0.0/8 or ::1/128") from None
    raise ValueError(f"expected the first address of the range ({whole})")


def _refuse_extras(text: str, netloc: str) -> None:
    if "@" in netloc:
        raise ValueError("expected a URL without user name or password (set an Authorization header instead)")
    if "?" in text:
        raise ValueError("expected a URL without a query")
    if "#" in text:
        raise ValueError("expected a URL without a fragment")


def _split_authority(netloc: str, expected: str) -> tuple[str, int | None]:
    if netloc.startswith("["):
        host, bracket, rest = netloc.partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(expected)
        return f"{host}]", _port(rest[1:], lowest=1) if rest else None
    host, colon, port = netloc.partition(":")
    if not host:
        raise ValueError("expected a URL with a host")
    return host, _port(port, lowest=1) if colon else None


def _host(text: str, expected: str) -> str:
    """A host name or address, IPv6 without its brackets."""
    if text.startswith("["):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise ValueError("expected an IPv6 address inside the brackets") from None
    if not _HOST.fullmatch(text):
        raise ValueError(expected)
    if re.fullmatch(r"[0-9.]+", text):
        try:
            return str(ipaddress.IPv4Address(text))
        except ValueError:
            raise ValueError("expected an IPv4 address of four numbers from 0 to 255") from None
    return text.lower()


def _port(text: str, lowest: int) -> int:
    if re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) and lowest <= int(text) <= 65535:
        return int(text)
    raise ValueError(f"expected a port from {lowest} to 65535")


def _socket_path(text: str) -> str:
    path = text.removeprefix("unix:").removeprefix("//")
    if not path.startswith("/") or path.endswith("/") or not path.isprintable():
        raise ValueError("expected an absolute socket path after unix:, such as unix:/run/gallery.sock")
    if len(path.encode()) > _LONGEST_SOCKET_PATH:
        raise ValueError(f"expected a socket path of at most {_LONGEST_SOCKET_PATH} bytes (a system limit)")
    return path


def _base_path(path: str) -> str:
    if any(segment in (".", "..") for segment in path.split("/")):
        raise ValueError("expected a base path without . and .. segments")
    return path.rstrip("/")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
