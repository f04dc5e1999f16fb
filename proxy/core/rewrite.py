"""Writes the heads that go on: the request's to an upstream, the response's to the client.

The path and query are passed byte for byte, fields keep their order and duplicates; what is added comes last.
Neighbours: `heads` parsed and sorted the fields, `net.attempt` and `net.handler` send the result.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from proxy.core.fields import DROP_UNTRUSTED
from proxy.core.heads import RequestHead, ResponseHead

_VIA: Final = b"Via: 1.1 cutover\r\n"
_VIA_TEN: Final = b"Via: 1.0 cutover\r\n"


@dataclass(frozen=True, slots=True)
class UpstreamFace:
    """How a source wants to be addressed.

    `host` replaces the client's (None keeps it, `authority` standing in when there is none); `set_lines` are
    whole lines without their CRLF; `drop_flag` is the `fields` flag of what this source must not see.
    """

    name: bytes
    authority: bytes
    drop_flag: int
    host: bytes | None = None
    base_path: bytes = b""
    strip_prefix: bytes = b""
    set_lines: tuple[bytes, ...] = ()
    via: bool = True


class Hop:
    """What this hop knows about the client. `address` is None for a client on a Unix socket."""

    __slots__ = ("address", "request_id", "traceparent", "trusted")

    def __init__(self, address: bytes | None, trusted: bool, request_id: bytes, traceparent: bytes) -> None:  # noqa: FBT001 - by position: one for each request
        self.address = address
        self.trusted = trusted
        self.request_id = request_id
        self.traceparent = traceparent

    def __repr__(self) -> str:
        return f"<Hop {self.address!r} {self.request_id!r}>"


def request_bytes(head: RequestHead, face: UpstreamFace, hop: Hop) -> bytes:
    """The request head as one source gets it, up to and including the empty line."""
    lines = head.lines
    if head.sourced:
        lines = _lines_for(head, face.drop_flag if hop.trusted else face.drop_flag | DROP_UNTRUSTED)
    extra = (*lines, *face.set_lines) if face.set_lines else lines
    host = face.host or head.host or face.authority
    noted = head.noted
    forwarded_for, proto, forwarded_host = hop.address, b"http", head.host or face.authority
    if hop.trusted:
        forwarded_for = _appended(noted.get(b"x-forwarded-for"), hop.address)
        if b"x-forwarded-proto" in noted:
            proto = noted[b"x-forwarded-proto"][0]
        if b"x-forwarded-host" in noted:
            forwarded_host = noted[b"x-forwarded-host"][0]
    # The template stands here because mypyc takes only a literal apart: 400 instructions instead of 3,500.
    return (
        b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b%bX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n"
        b"X-Request-Id: %b\r\ntraceparent: %b\r\nX-Cutover-Source: %b\r\n%b%b\r\n"
    ) % (
        head.method,
        _target_for(head, face) if face.base_path or face.strip_prefix else head.target,
        host,
        b"\r\n".join(extra) + b"\r\n" if extra else b"",
        b"Transfer-Encoding: chunked\r\n" if head.chunked else b"",
        b"X-Forwarded-For: %b\r\n" % forwarded_for if forwarded_for else b"",
        proto,
        forwarded_host,
        hop.request_id,
        hop.traceparent,
        face.name,
        b"" if not face.via else _VIA if head.minor else _VIA_TEN,
        b"" if head.upgrade is None else upgrade_lines(head.upgrade),
    )


def upgrade_lines(protocol: bytes) -> bytes:
    """The two lines that ask for, or agree to, a change of protocol on one hop (RFC 9110 section 7.8)."""
    return b"Connection: Upgrade\r\nUpgrade: %b\r\n" % protocol


def _lines_for(head: RequestHead, flags: int) -> list[bytes]:
    hidden = {index for index, fate in head.sourced if fate & flags}
    return [line for index, line in enumerate(head.lines) if index not in hidden]


def _appended(inbound: tuple[bytes, ...] | None, address: bytes | None) -> bytes | None:
    if not inbound:
        return address
    return b", ".join((*inbound, address) if address else inbound)


def _target_for(head: RequestHead, face: UpstreamFace) -> bytes:
    if not head.target.startswith(b"/"):
        return head.target  # OPTIONS *
    target, prefix = head.target, face.strip_prefix
    if prefix and (head.path == prefix or head.path.startswith(prefix + b"/")):
        target = target[len(prefix) :]
        if not target.startswith(b"/"):
            target = b"/" + target
    return face.base_path + target


def response_bytes(head: ResponseHead, framing: bytes, added: bytes) -> bytes:
    """The response head as the client gets it, up to and including the empty line.

    `framing` and `added` are whole lines, each with its CRLF, or empty.
    """
    lines = head.lines
    if head.status < 200 or head.status == 204:
        lines = [line for line in lines if line[:15].lower() != b"content-length:"]
    return b"HTTP/1.1 %d %b\r\n%b%b%b\r\n" % (
        head.status,
        head.reason,
        b"\r\n".join(lines) + b"\r\n" if lines else b"",
        framing,
        added,
    )


@lru_cache(maxsize=4096)
def exposed_lines(source: str, reason: str, bucket: int | None, fallback: str | None) -> bytes:
    """The X-Cutover-* lines of a response (contract section 5); few differ, so they are remembered."""
    lines = f"X-Cutover-Source: {source}\r\nX-Cutover-Reason: {reason}\r\n"
    if bucket is not None:
        lines += f"X-Cutover-Bucket: {bucket}\r\n"
    if fallback is not None:
        lines += f"X-Cutover-Fallback: {fallback}\r\n"
    return lines.encode()


def connection_line(head: RequestHead, *, keep_alive: bool) -> bytes:
    """The Connection line that tells this client whether the connection stays open, where it needs telling."""
    if not keep_alive:
        return b"Connection: close\r\n"
    return b"" if head.minor else b"Connection: keep-alive\r\n"


def via_line(head: ResponseHead) -> bytes:
    """The Via line for a response, naming the version the upstream spoke (RFC 9110 section 7.6.3)."""
    return _VIA if head.minor else _VIA_TEN
