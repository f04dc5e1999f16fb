# ruff: noqa: E501 - one row, one line
"""The table: what a client or an upstream sends, and all that may come of it.

Three kinds of row. `Request`: a client's bytes, what it is answered, which whole requests reach the upstream.
`Answer`: an upstream's bytes, what the client is answered, what becomes of both connections. `Dialogue`: both
in turns. "RFC 9112" is meant by a section number that stands alone.
"""

from dataclasses import dataclass
from typing import Final

ANY: Final = b"<any>"
WHOLE: Final = "whole"  # the client gets the answer, as it is
BROKEN: Final = "broken"  # the client gets a part, and can tell that it is one
FAILED: Final = "failed"  # the client gets the proxy's own 502


@dataclass(frozen=True)
class Request:
    """`reaches`: the whole requests that the upstream sees, without what cutover adds (Via, X-Forwarded-*, ids).

    `begins`: the head is in order, so that it may reach the upstream, but never a whole request. `has`, `lacks`:
    in the heads that reach the upstream, what cutover adds included.
    """

    section: str
    name: str
    sent: bytes
    status: tuple[int, ...] = (200,)
    closed: bool = False
    reaches: tuple[bytes, ...] = ()
    begins: bool = False
    whole: bool = True
    has: tuple[bytes, ...] = ()
    lacks: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Answer:
    """`says`, then the upstream does `then`: nothing, "fin" or "reset". `kept`: the client's connection.

    `reusable`: the upstream's connection may serve the next request. `/x` in `asked` stands for the path. Played
    on legacy as it is, and on the target, where legacy answers safe requests in place of what is not WHOLE.
    """

    section: str
    name: str
    says: bytes
    then: str = ""
    status: tuple[int, ...] = (200,)
    body: bytes = b""
    outcome: str = WHOLE
    kept: bool = True
    reusable: bool = True
    asked: bytes = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
    has: tuple[bytes, ...] = ()
    lacks: tuple[bytes, ...] = ()
    on_target: bool = True


@dataclass(frozen=True)
class Dialogue:
    """`steps` are (who, bytes), who being "client" or "upstream"; b"FIN" and b"RST" are what they say.

    `reaches`: all bytes that the upstreams got, without what cutover adds, and bodies as one chunk if chunked.
    `client_gets`: the status of each answer; `body`: of the last.
    """

    section: str
    name: str
    steps: tuple[tuple[str, bytes], ...]
    client_gets: tuple[int, ...]
    body: bytes = b"ok"
    reaches: tuple[bytes, ...] = ()
    kept: bool = True
    opened: int = 1


LINE = b"GET /images/1 HTTP/1.1\r\n"


def get(*fields: bytes, line: bytes = b"GET /images/1 HTTP/1.1", host: bytes = b"Host: a") -> bytes:
    """A request without a body."""
    return b"".join(part + b"\r\n" for part in (line, *([host] if host else []), *fields)) + b"\r\n"


def post(*fields: bytes, body: bytes = b"", line: bytes = b"POST /images HTTP/1.1") -> bytes:
    """A request with whatever body."""
    return get(*fields, line=line) + body


def refused(section: str, name: str, sent: bytes, status: int = 400) -> Request:
    """Not one byte of it goes upstream."""
    return Request(section, name, sent, (status,), closed=True)


def broken_body(name: str, body: bytes, status: int = 400) -> Request:
    """A request whose head is good and whose chunked body is not."""
    sent = post(CHUNKED, body=body)
    return Request("§7.1", name, sent, (status,), closed=True, begins=True)


def served(section: str, name: str, sent: bytes, *reaches: bytes, **more: object) -> Request:
    """A request, or several, forwarded as `reaches` says (as sent if it says nothing)."""
    reaches = reaches or (sent,)
    return Request(section, name, sent, (200,) * len(reaches), reaches=reaches, **more)


G = get()
CHUNKED = b"Transfer-Encoding: chunked"
ABC = b"3\r\nabc\r\n0\r\n\r\n"
POST = post(b"Content-Length: 3", body=b"abc")
POST_CHUNKED = post(CHUNKED, body=ABC)

REQUESTS: Final = (
    # §2.2 message parsing
    served("§2.2", "one empty line before a request is skipped", b"\r\n" + G, G),
    served("§2.2", "a few empty lines before a request are skipped", b"\r\n\r\n\r\n" + G, G),
    served("§2.2", "an empty line between requests is skipped", G + b"\r\n" + G, G, G),
    served("§2.2", "an empty line after a body is skipped", POST + b"\r\n" + G, POST, G),
    refused("§2.2", "many empty lines are refused", b"\r\n" * 9 + G),
    refused("§2.2", "a bare LF before a request is refused", b"\n" + G),
    refused("§2.2", "a bare CR before a request is refused", b"\r" + G),
    refused("§2.2", "CR CR LF before a request is refused", b"\r\r\n" + G),
    refused("§2.2", "a request line ended by LF is refused", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    refused("§2.2", "a field line ended by LF is refused", get(b"X-A: b\nX-B: c")),
    refused("§2.2", "a field line ended by CR is refused", get(b"X-A: b\rX-B: c")),
    refused("§2.2", "a CR before CRLF is refused", get(b"X-A: b\r")),
    refused("§2.2", "white space before the first field is refused", get(host=b" Host: a")),
    refused("§2.2", "white space before the request line is refused", b" " + G),
    refused("§2.2", "a response in place of a request is refused", b"HTTP/1.1 200 OK\r\nHost: a\r\n\r\n"),
    refused("§2.2", "a TLS handshake is refused", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    refused("§2.2", "the preface of HTTP/2 is refused", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    refused("§2.2", "a byte-order mark before a request is refused", b"\xef\xbb\xbf" + G),
    # §2.3, §3 request line
    refused("§2.3", "HTTP/0.9 is refused", get(line=b"GET / HTTP/0.9"), 505),
    refused("§2.3", "HTTP/1.2 is refused", get(line=b"GET / HTTP/1.2"), 505),
    refused("§2.3", "HTTP/2.0 is refused", get(line=b"GET / HTTP/2.0"), 505),
    refused("§2.3", "a lower-case protocol is refused", get(line=b"GET / http/1.1")),
    refused("§2.3", "a version of two digits is refused", get(line=b"GET / HTTP/1.10")),
    refused("§2.3", "a version without its minor is refused", get(line=b"GET / HTTP/1")),
    refused("§3", "a simple request is refused", b"GET /\r\n\r\n"),
    refused("§3", "an empty request line after the method is refused", get(line=b"GET")),
    refused("§3", "two spaces after the method are refused", get(line=b"GET  / HTTP/1.1")),
    refused("§3", "two spaces before the version are refused", get(line=b"GET /  HTTP/1.1")),
    refused("§3", "a space after the version is refused", get(line=b"GET / HTTP/1.1 ")),
    refused("§3", "a tab between the parts is refused", get(line=b"GET\t/ HTTP/1.1")),
    refused("§3", "a vertical tab between the parts is refused", get(line=b"GET\x0b/ HTTP/1.1")),
    refused("§3", "a space in the target is refused", get(line=b"GET /a b HTTP/1.1")),
    refused("§3", "a control in the target is refused", get(line=b"GET /a\x01 HTTP/1.1")),
    refused("§3", "a NUL in the target is refused", get(line=b"GET /a\x00 HTTP/1.1")),
    refused("§3", "a DEL in the target is refused", get(line=b"GET /a\x7f HTTP/1.1")),
    refused("§3.1", "a method that is no token is refused", get(line=b"G@T / HTTP/1.1")),
    refused("§3.1", "a method with a colon is refused", get(line=b"GET: / HTTP/1.1")),
    refused("§3.1", "CONNECT is not served", get(line=b"CONNECT a:443 HTTP/1.1"), 405),
    refused("§3.1", "TRACE is not served", get(line=b"TRACE / HTTP/1.1"), 405),
    served("§3.1", "an unknown method is forwarded", get(line=b"PURGE /images/1 HTTP/1.1")),
    served("§3.1", "a lower-case TRACE is another method too", get(line=b"trace /images/1 HTTP/1.1")),
    refused("§3", "a space that is none in ASCII is refused", get(line=b"GET /\xa0HTTP/1.1")),
    refused("§3", "a target behind the version is refused", get(line=b"GET / HTTP/1.1 /b HTTP/1.1")),
    served("§3.1", "a lower-case method is another method", get(line=b"get /images/1 HTTP/1.1")),
    refused("§3", "a target over its limit is refused", get(line=b"GET /" + b"a" * 1030 + b" HTTP/1.1"), 414),
    # §3.2 targets
    served("§3.2.1", "path bytes are forwarded as they are", get(line=b"GET /images/a%2Fb%2e?x=%zz&&y=\xe9 HTTP/1.1")),
    served("§3.2.1", "dot segments are forwarded as they are", get(line=b"GET /images/../a//./b HTTP/1.1")),
    served("§3.2.1", "an empty query stays", get(line=b"GET /images/1? HTTP/1.1")),
    refused("§3.2.1", "a fragment is refused", get(line=b"GET /images/1#a HTTP/1.1")),
    refused("§3.2.1", "a target without a slash is refused", get(line=b"GET images/1 HTTP/1.1")),
    refused("§3.2.1", "a query alone is refused", get(line=b"GET ?a=b HTTP/1.1")),
    served("§3.2.2", "an absolute target's authority replaces Host",
           get(line=b"GET http://b:81/images/1?q HTTP/1.1"), get(line=b"GET /images/1?q HTTP/1.1", host=b"Host: b:81")),
    served("§3.2.2", "an absolute target without a path means the root",
           get(line=b"GET http://b HTTP/1.1"), get(line=b"GET / HTTP/1.1", host=b"Host: b")),
    served("§3.2.2", "a scheme's case does not matter",
           get(line=b"GET HtTp://b/images/1 HTTP/1.1"), get(host=b"Host: b")),
    refused("§3.2.2", "an absolute target with user info is refused", get(line=b"GET http://u@b/ HTTP/1.1")),
    refused("§3.2.2", "an absolute target without an authority is refused", get(line=b"GET http:///a HTTP/1.1")),
    refused("§3.2.2", "an absolute target of another scheme is refused", get(line=b"GET ftp://b/ HTTP/1.1")),
    refused("§3.2.2", "an absolute target still needs a Host", get(line=b"GET http://b/ HTTP/1.1", host=b"")),
    refused("§3.2.2", "an absolute target does not excuse a bad Host", get(line=b"GET http://b/ HTTP/1.1", host=b"Host: ,")),
    refused("§3.2.3", "an authority as the target is refused", get(line=b"GET a:80 HTTP/1.1")),
    served("§3.2.4", "an asterisk is for OPTIONS", get(line=b"OPTIONS * HTTP/1.1")),
    served("§3.2.4", "OPTIONS of an authority alone means the asterisk",
           get(line=b"OPTIONS http://b:81 HTTP/1.1"), get(line=b"OPTIONS * HTTP/1.1", host=b"Host: b:81")),
    served("§3.2.4", "OPTIONS of an authority with a path or a query means that",
           get(line=b"OPTIONS http://b/ HTTP/1.1") + get(line=b"OPTIONS http://b?q HTTP/1.1"),
           get(line=b"OPTIONS / HTTP/1.1", host=b"Host: b"), get(line=b"OPTIONS /?q HTTP/1.1", host=b"Host: b")),
    refused("§3.2.4", "an asterisk is not for GET", get(line=b"GET * HTTP/1.1")),
    refused("§3.2.4", "an asterisk with a query is refused", get(line=b"OPTIONS *?a HTTP/1.1")),
    refused("§3.2", "no Host in HTTP/1.1 is refused", get(host=b"")),
    refused("§3.2", "two Hosts are refused", get(b"Host: b")),
    refused("§3.2", "two equal Hosts are refused", get(b"Host: a")),
    refused("§3.2", "two Hosts in HTTP/1.0 are refused", get(b"Host: b", line=b"GET / HTTP/1.0")),
    refused("§3.2", "an empty Host is refused", get(host=b"Host:")),
    refused("§3.2", "a list as Host is refused", get(host=b"Host: a, b")),
    refused("§3.2", "a Host with a path is refused", get(host=b"Host: a/b")),
    refused("§3.2", "a Host with user info is refused", get(host=b"Host: u@a")),
    refused("§3.2", "a Host with a port in letters is refused", get(host=b"Host: a:http")),
    refused("§3.2", "a Host with a colon and no port is refused", get(host=b"Host: a:")),
    refused("§3.2", "a Host with two ports is refused", get(host=b"Host: a:80:81")),
    refused("§3.2", "a Host with a backslash is refused", get(host=b"Host: a\\b")),
    refused("§3.2", "a Host that begins with a control is refused", get(host=b"\x00Host: a")),
    refused("§3.2", "a Host with a space is refused", get(host=b"Host: a b")),
    refused("§3.2", "a Host with half an IPv6 address is refused", get(host=b"Host: [::1")),
    served("§3.2", "a Host with an IPv6 address passes", get(host=b"Host: [::1]:8080")),
    # §5 fields
    served("§5", "order, case and duplicates stay", get(b"x-b: 1", b"X-A: 2", b"X-B: 3", b"x-b: 1")),
    served("§5", "white space before a value goes", get(b"X-A: \t b c"), get(b"X-A: b c")),
    served("§5", "an empty value stays", get(b"X-A:"), get(b"X-A: ")),
    served("§5.5", "bytes over 0x7F in a value pass", get(b"X-A: \xff\x80")),
    served("§5.5", "a tab in a value passes", get(b"X-A: b\tc")),
    refused("§5.1", "a space before the colon is refused", get(b"X-A : b")),
    refused("§5.1", "a tab before the colon is refused", get(b"X-A\t: b")),
    refused("§5.1", "a space before Host's colon is refused", get(host=b"Host : a")),
    refused("§5.1", "a space before the colon of a length is refused", post(b"Content-Length : 3", body=b"abc")),
    refused("§5.1", "a space before the colon of a coding is refused", post(b"Transfer-Encoding : chunked", body=ABC)),
    refused("§5.1", "a field without a colon is refused", get(b"nocolon")),
    refused("§5.1", "an empty name is refused", get(b": b")),
    refused("§5.1", "a name with a space is refused", get(b"X A: b")),
    refused("§5.1", "a name with a byte over 0x7F is refused", get(b"X\xe9: b")),
    refused("§5.1", "a name with a NUL is refused", get(b"X\x00A: b")),
    refused("§5.1", "a name with brackets is refused", get(b"X(A): b")),
    served("§5.1", "an underscore in a name passes", get(b"X_A: b")),
    refused("§5.2", "a folded line is refused", get(b"X-A: b\r\n c")),
    refused("§5.2", "a line folded with a tab is refused", get(b"X-A: b\r\n\tc")),
    refused("§5.2", "a folded Transfer-Encoding is refused", post(b"Transfer-Encoding:\r\n chunked", body=ABC)),
    refused("§5.2", "a folded Content-Length is refused", post(b"Content-Length: 1\r\n 3", body=b"abc")),
    refused("§5.2", "a fold after the last field is refused", get(b"X-A: b", b" ")),
    refused("§5.5", "a NUL in a value is refused", get(b"X-A: b\x00c")),
    refused("§5.5", "a vertical tab in a value is refused", get(b"X-A: b\x0bc")),
    refused("§5.5", "an escape in a value is refused", get(b"X-A: \x1b[2J")),
    refused("§5.5", "a DEL in a value is refused", get(b"X-A: b\x7f")),
    refused("§5.4", "a head over its limit is refused", get(*[b"X-A: " + b"b" * 500] * 9), 431),
    refused("§5.4", "a field over the limit is refused", get(b"X-A: " + b"b" * 5000), 431),
    refused("§5.4", "too many fields are refused", get(*[b"X-A: b"] * 31), 431),
    served("§5.5", "a non-breaking space is no white space", get(b"X-A: b\xa0")),
    # §6 framing
    served("§6.2", "a body of a known length passes", POST),
    *(
        served("§6.2", f"a request in the content of {line.decode()} is content",
               post(b"Content-Length: %d" % len(G), body=G, line=line + b" HTTP/1.1"))
        for line in (b"GET /images/1", b"HEAD /images/1", b"OPTIONS *", b"DELETE /images/1", b"PURGE /images/1")
    ),
    served("§6.1", "a request in the chunks of OPTIONS is content",
           post(CHUNKED, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(G), G), line=b"OPTIONS /images/1 HTTP/1.1")),
    served("§6.2", "a request behind the body of one of HTTP/1.0 that stays is the next",
           post(b"Connection: keep-alive", b"Content-Length: 3", body=b"abc", line=b"POST /images HTTP/1.0") + G, POST, G),
    refused("§6.2", "a length after a form feed is refused", post(b"Content-Length: \x0c3", body=b"abc")),
    refused("§6.2", "a length before a non-breaking space is refused", post(b"Content-Length: 3\xa0", body=b"abc")),
    refused("§6.2", "a length in quotes is refused", post(b'Content-Length: "3"', body=b"abc")),
    refused("§6.2", "a length with an equals sign is refused", post(b"Content-Length=3", body=b"abc")),
    refused("§6.2", "a length behind a line feed is refused", post(b"X-A: b\nContent-Length: 3", body=b"abc")),
    refused("§6.2", "a length of 2^64 - 1 is refused", post(b"Content-Length: 18446744073709551615", body=b"abc")),
    refused("§6.2", "a length over the limit and in 64 bits is refused", post(b"Content-Length: 999999999999999999", body=b"abc"), 413),
    served("§6.2", "a length of 0 means no body", post(b"Content-Length: 0")),
    served("§6.2", "a GET may have a body", post(b"Content-Length: 3", body=b"abc", line=b"GET /images/1 HTTP/1.1")),
    served("§6.2", "zeros before a length are no matter", post(b"Content-Length: 003", body=b"abc")),
    served("§6.3", "without a length there is no body", post() + G, post(), G),
    served("§6.3", "what follows a body is the next request", POST + G, POST, G),
    refused("§6.2", "a length with a plus is refused", post(b"Content-Length: +3", body=b"abc")),
    refused("§6.2", "a length with a minus is refused", post(b"Content-Length: -3", body=b"abc")),
    refused("§6.2", "an empty length is refused", post(b"Content-Length:", body=b"abc")),
    refused("§6.2", "a length in hexadecimal is refused", post(b"Content-Length: 0x3", body=b"abc")),
    refused("§6.2", "a length with a fraction is refused", post(b"Content-Length: 3.0", body=b"abc")),
    refused("§6.2", "a length with an underscore is refused", post(b"Content-Length: 1_0", body=b"0123456789")),
    refused("§6.2", "a length with a space inside is refused", post(b"Content-Length: 1 0", body=b"0123456789")),
    refused("§6.2", "a length in other digits is refused", post("Content-Length: ٣".encode(), body=b"abc")),
    refused("§6.2", "a length past 64 bits is refused", post(b"Content-Length: 18446744073709551619", body=b"abc")),
    refused("§6.3", "two lengths are refused", post(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd")),
    refused("§6.3", "two equal lengths are refused", post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc")),
    refused("§6.3", "a list of equal lengths is refused", post(b"Content-Length: 3, 3", body=b"abc")),
    refused("§6.3", "a length ended by a comma is refused", post(b"Content-Length: 3,", body=b"abc")),
    refused("§6.2", "a body over the limit is refused at its head", post(b"Content-Length: 1001", body=b"abc"), 413),
    served("§6.1", "a chunked body passes", POST_CHUNKED),
    served("§6.1", "a coding's case does not matter", post(b"TRANSFER-encoding: ChUnKeD", body=ABC), POST_CHUNKED),
    served("§6.1", "what follows a chunked body is the next request", POST_CHUNKED + G, POST_CHUNKED, G),
    refused("§6.1", "a length beside a coding is refused", post(CHUNKED, b"Content-Length: 3", body=ABC)),
    refused("§6.1", "a coding beside a length is refused", post(b"Content-Length: 13", CHUNKED, body=ABC)),
    refused("§6.1", "a coding in HTTP/1.0 is refused", post(CHUNKED, body=ABC, line=b"POST /images HTTP/1.0")),
    refused("§6.1", "a coding twice is refused", post(CHUNKED, CHUNKED, body=ABC)),
    refused("§6.1", "a coding twice in a list is refused", post(b"Transfer-Encoding: chunked, chunked", body=ABC)),
    refused("§6.1", "another coding before chunked is refused", post(b"Transfer-Encoding: gzip, chunked", body=ABC), 501),
    refused("§6.1", "another coding after chunked is refused", post(b"Transfer-Encoding: chunked, gzip", body=ABC), 501),
    refused("§6.1", "another coding on its own line is refused", post(b"Transfer-Encoding: gzip", CHUNKED, body=ABC), 501),
    refused("§6.1", "the coding identity is refused", post(b"Transfer-Encoding: identity", body=ABC), 501),
    refused("§6.1", "a word like chunked is refused", post(b"Transfer-Encoding: xchunked", body=ABC), 501),
    refused("§6.1", "chunked with a parameter is refused", post(b"Transfer-Encoding: chunked;q=1", body=ABC)),
    refused("§6.1", "chunked in quotes is refused", post(b'Transfer-Encoding: "chunked"', body=ABC)),
    refused("§6.1", "chunked after a comma is refused", post(b"Transfer-Encoding: , chunked", body=ABC)),
    refused("§6.1", "chunked before a comma is refused", post(b"Transfer-Encoding: chunked,", body=ABC)),
    refused("§6.1", "an empty coding is refused", post(b"Transfer-Encoding:", body=ABC)),
    refused("§6.1", "chunked after a vertical tab is refused", post(b"Transfer-Encoding: \x0bchunked", body=ABC)),
    refused("§6.1", "chunked after a non-breaking space is refused", post(b"Transfer-Encoding: \xa0chunked", body=ABC)),
    refused("§6.1", "chunked before a non-breaking space is refused", post(b"Transfer-Encoding: chunked\xa0", body=ABC)),
    refused("§6.1", "chunked with a Kelvin sign is refused", post("Transfer-Encoding: chun\u212aed".encode(), body=ABC)),
    refused("§6.1", "a coding's name with a long s is refused", post("Tran\u017ffer-Encoding: chunked".encode(), body=ABC)),
    refused("§6.1", "a coding with two colons is refused", post(b"Transfer-Encoding:: chunked", body=ABC)),
    refused("§6.1", "a coding behind a line feed is refused", post(b"X-A: b\nTransfer-Encoding: chunked", body=ABC)),
    refused("§6.1", "a coding behind a carriage return is refused", post(b"X-A: b\r\n\rTransfer-Encoding: chunked", body=ABC)),
    refused("§6.1", "an empty coding before chunked is refused", post(b"Transfer-Encoding:", CHUNKED, body=ABC)),
    refused("§6.1", "chunked twice with a space is refused", post(b"Transfer-Encoding: chunked chunked", body=ABC)),
    served("§6.1", "Content-Encoding is no transfer coding", post(b"Content-Encoding: chunked", b"Content-Length: 3", body=b"abc")),
    refused("§6.1", "chunked before a NUL is refused", post(b"Transfer-Encoding: chunked\x00", body=ABC)),
    refused("§6.1", "a coding spelt with an underscore is refused", post(b"Transfer_Encoding: chunked", body=ABC)),
    refused("§6.1", "such a coding beside a length is refused", post(b"Content-Length: 13", b"TRANSFER_encoding: chunked", body=ABC)),
    refused("§6.2", "a length spelt with an underscore is refused", post(b"Content_Length: 3", body=b"abc")),
    # §7.1 chunks
    served("§7.1", "chunks are put together", post(CHUNKED, body=b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"), POST_CHUNKED),
    served("§7.1", "zeros before a size are no matter", post(CHUNKED, body=b"0003\r\nabc\r\n000\r\n\r\n"), POST_CHUNKED),
    served("§7.1", "a size in capitals is read", post(CHUNKED, body=b"A\r\n0123456789\r\n0\r\n\r\n"),
           post(CHUNKED, body=b"a\r\n0123456789\r\n0\r\n\r\n")),
    served("§7.1.1", "extensions are read over", post(CHUNKED, body=b'3;a;b=c;d="e\\";f"\r\nabc\r\n0;g\r\n\r\n'), POST_CHUNKED),
    served("§7.1.2", "trailers stay trailers", post(CHUNKED, body=b"3\r\nabc\r\n0\r\nX-T: u\r\n\r\n")),
    served("§7.1.2", "trailers that would frame, route or authorise are left out",
           post(CHUNKED, body=b"3\r\nabc\r\n0\r\nContent-Length: 9\r\nHost: b\r\nAuthorization: c\r\nX-T: u\r\n"
                b"Transfer-Encoding: gzip\r\nX-Cutover-Source: d\r\nX-Forwarded-For: e\r\n\r\n"),
           post(CHUNKED, body=b"3\r\nabc\r\n0\r\nX-T: u\r\n\r\n")),
    broken_body("a size with a minus", b"-3\r\nabc\r\n0\r\n\r\n"),
    broken_body("a size with a plus", b"+3\r\nabc\r\n0\r\n\r\n"),
    broken_body("a size with 0x", b"0x3\r\nabc\r\n0\r\n\r\n"),
    broken_body("a size with an underscore", b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n"),
    broken_body("an empty size", b"\r\nabc\r\n0\r\n\r\n"),
    broken_body("a space before a size", b" 3\r\nabc\r\n0\r\n\r\n"),
    broken_body("a space after a size", b"3 \r\nabc\r\n0\r\n\r\n"),
    broken_body("a size of 16 digits", b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    broken_body("a size that wraps at 64 bits", b"1" + b"0" * 16 + b"\r\n\r\n"),
    broken_body("a size line over its limit", b"3;" + b"a" * 1100 + b"\r\nabc\r\n0\r\n\r\n"),
    broken_body("a size ended by LF", b"3\nabc\r\n0\r\n\r\n"),
    broken_body("a LF in an extension", b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
    broken_body("a CR in an extension", b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    broken_body("an extension in open quotes", b'3;a="b\r\nabc\r\n0\r\n\r\n'),
    broken_body("a chunk longer than its size", b"3\r\nabcd\r\n0\r\n\r\n"),
    broken_body("an extension that a line feed ends", b"2;\nxx\r\n10\r\nabc\r\n0\r\n\r\n"),
    broken_body("an empty extension", b"3;\r\nabc\r\n0\r\n\r\n"),
    broken_body("an extension in quotes over two lines", b'3;a="\r\n0\r\n\r\n"'),
    broken_body("a chunk ended by CR", b"3\r\nabc\r2\r\n45\r\n0\r\n\r\n"),
    broken_body("a chunk without its end", b"3\r\nabc0\r\n\r\n"),
    broken_body("two bytes in place of a chunk's end", b"3\r\nabcXX2\r\n45\r\n0\r\n\r\n"),
    broken_body("an empty line before the first size", b"\r\n3\r\nabc\r\n0\r\n\r\n"),
    broken_body("a size of 21 digits that are zeros but one", b"0" * 20 + b"3\r\nabc\r\n0\r\n\r\n"),
    broken_body("an end of trailers by LF", b"0\r\n\n"),
    broken_body("trailers that LF LF ends", b"0\r\nX-T: u\n\n" + G),
    broken_body("a request in place of a trailer", b"0\r\nGET / HTTP/1.1\r\n\r\n"),
    broken_body("a chunk ended by LF", b"3\r\nabc\n0\r\n\r\n"),
    broken_body("a chunk shorter than its size", b"5\r\nabc\r\n0\r\n\r\n"),
    broken_body("a last chunk ended by LF", b"3\r\nabc\r\n0\n\r\n"),
    broken_body("a trailer without a colon", b"0\r\nX-T\r\n\r\n"),
    broken_body("a trailer with a space before its colon", b"0\r\nX-T : u\r\n\r\n"),
    broken_body("a folded trailer", b"0\r\nX-T: u\r\n v\r\n\r\n"),
    broken_body("a trailer with a NUL", b"0\r\nX-T: \x00\r\n\r\n"),
    broken_body("trailers over their limit", b"0\r\n" + b"X-T: " + b"u" * 9000 + b"\r\n\r\n"),
    broken_body("chunks over the limit of a body", b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n", 413),
    # §9 connections
    served("§9.3", "HTTP/1.1 stays open", G + G, G, G),
    served("§9.3", "HTTP/1.1 with close closes", get(b"Connection: close") + G, G, closed=True),
    served("§9.3", "close in another case and in a list closes", get(b"Connection: x, CLOSE"), G, closed=True),
    served("§9.3", "close wins over keep-alive", get(b"Connection: keep-alive, close"), G, closed=True),
    served("§9.3", "close wins over keep-alive on two lines", get(b"Connection: close", b"Connection: keep-alive"), G,
           closed=True),
    served("§9.3", "HTTP/1.0 closes", get(line=b"GET /images/1 HTTP/1.0"), G, closed=True),
    served("§9.3", "HTTP/1.0 with keep-alive stays", get(b"Connection: Keep-Alive", line=b"GET /images/1 HTTP/1.0"), G),
    served("§9.3", "HTTP/1.0 without a Host gets the source's",
           get(line=b"GET /images/1 HTTP/1.0", host=b""), get(host=b"Host: target.test:4000"), closed=True),
    served("§9.3.2", "pipelined requests are forwarded in order", G + POST + get(b"X-A: 3") + POST_CHUNKED,
           G, POST, get(b"X-A: 3"), POST_CHUNKED),
    served("§9.3.2", "ten requests at once are forwarded in order",
           b"".join(get(b"X-A: %d" % at) for at in range(10)), *[get(b"X-A: %d" % at) for at in range(10)]),
    Request("§9.3.2", "a bad request ends a pipeline", G + b"BAD\r\n\r\n" + G, (200, 400), closed=True, reaches=(G,)),
    Request("§9.3.2", "a smuggled request after a bad one is not served", post(CHUNKED, b"Content-Length: 4", body=b"0\r\n\r\n" + G),
            (400,), closed=True),
    served("§9.6", "what follows a closing request is not served", get(b"Connection: close") + POST, G, closed=True),
    Request("§9.5", "half a head waits", b"GET /images/1 HTT", (), whole=False),
    Request("§9.5", "half a body waits", post(b"Content-Length: 5", body=b"abc"), (), whole=False, begins=True),
    # RFC 9110 §7.6 forwarding
    served("9110 §7.6.1", "hop-by-hop fields go no further",
           get(b"Keep-Alive: timeout=5", b"Proxy-Connection: x", b"TE: trailers", b"Proxy-Authorization: y", b"X-A: b"),
           get(b"X-A: b")),
    served("9110 §7.6.1", "fields that Connection names go no further",
           get(b"Connection: X-A, x-b", b"X-A: 1", b"x-B: 2", b"X-C: 3"), get(b"X-C: 3")),
    served("9110 §7.6.1", "a Connection with empty members is read", get(b"Connection: ,, X-A ,", b"X-A: 1"), G),
    *(
        refused("9110 §7.6.1", f"Connection may not name {name.decode()}", post(b"Connection: " + name, b"Content-Length: 0"))
        for name in (b"Host", b"Content-Length", b"Transfer-Encoding", b"Authorization", b"cookie", b"Content-Type",
                     b"X-Forwarded-For", b"x-user-id", b"traceparent", b"X-Request-Id", b"forwarded")
    ),
    Request("9110 §7.6.3", "Via is appended after the client's", get(b"Via: 1.0 fred"), reaches=(G,),
                 has=(b"Via: 1.0 fred\r\n", b"Via: 1.1 cutover\r\n")),
    served("9110 §7.6.3", "Via names the version received", get(line=b"GET /images/1 HTTP/1.0"), G, closed=True,
           has=(b"Via: 1.0 cutover\r\n",)),
    served("9110 §7.6", "a client's X-Cutover fields go no further", get(b"X-Cutover-Force: target", b"x-cutover-SOURCE: b"),
           G, lacks=(b"cutover-force", b": b\r\n"), has=(b"X-Cutover-Source: image_service\r\n",)),
    served("9110 §7.6", "such fields spelt with underscores go no further",
           get(b"X_Cutover_Source: b", b"X-Cutover_Force: b", b"X_Forwarded_For: 1.2.3.4", b"X_Real_IP: 1.2.3.4", b"X_Request_Id: b"),
           G, lacks=(b"1.2.3.4", b": b\r\n")),
    served("9110 §7.6", "a stranger's claims are replaced", get(b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-Host: b", b"Forwarded: for=1"),
           G, lacks=(b"1.2.3.4", b"Forwarded: for", b"-Host: b"), has=(b"X-Forwarded-For: 203.0.113.9\r\n",)),
    served("9110 §7.8", "an upgrade to a WebSocket is asked for", get(b"Connection: Upgrade", b"Upgrade: websocket"),
           get(b"Connection: Upgrade", b"Upgrade: websocket")),
    served("9110 §7.8", "an upgrade to h2c is left out",
           get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQ"), G,
           lacks=(b"upgrade", b"h2c", b"settings")),
    served("9110 §7.8", "an upgrade to h2c in capitals is left out", get(b"Connection: Upgrade", b"Upgrade: H2C"), G),
    served("9110 §7.8", "an upgrade to TLS is left out", get(b"Connection: upgrade", b"Upgrade: TLS/1.3"), G),
    served("9110 §7.8", "an upgrade with a body is left out",
           post(b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 3", body=b"abc"), POST),
    served("9110 §7.8", "two Upgrade lines are left out", get(b"Connection: Upgrade", b"Upgrade: websocket", b"Upgrade: h2c"), G),
    *(
        served("9110 §10.1.1", f"the expectation {expectation.decode()!r} changes no end",
               post(b"Expect: " + expectation, b"Content-Length: 3", body=b"abc") + G,
               post(b"Expect: " + expectation, b"Content-Length: 3", body=b"abc"), G)
        for expectation in (b"y 100-continue", b"100-continue, x", b"100-continue;a=b", b"x\r\nExpect: 100-continue", b"")
    ),
    served("9110 §7.8", "a list of protocols is left out", get(b"Connection: Upgrade", b"Upgrade: websocket, h2c"), G),
    served("9110 §7.8", "an upgrade that Connection does not name is left out", get(b"Upgrade: websocket"), G),
    served("9110 §7.8", "an upgrade in HTTP/1.0 is left out",
           get(b"Connection: Upgrade", b"Upgrade: websocket", line=b"GET /images/1 HTTP/1.0"), G, closed=True),
    served("9110 §9.3.2", "HEAD is forwarded and stays open", get(line=b"HEAD /images/1 HTTP/1.1") + G,
           get(line=b"HEAD /images/1 HTTP/1.1"), G),
)  # fmt: skip

OK: Final = b"HTTP/1.1 200 OK\r\n"


def answer(*fields: bytes, body: bytes = b"", line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """A response."""
    return b"".join(part + b"\r\n" for part in (line, *fields)) + b"\r\n" + body


def invalid(section: str, name: str, says: bytes) -> Answer:
    """Of such a response nothing may be used."""
    return Answer(section, name, says, status=(502,), body=ANY, outcome=FAILED, reusable=False)


THREE: Final = answer(b"Content-Length: 3", body=b"abc")
HEAD_X: Final = b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n"
OLD_X: Final = b"GET /x HTTP/1.0\r\nHost: a\r\n\r\n"
OLD_KEEP_X: Final = b"GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
HINTS: Final = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

ANSWERS: Final = (
    # §4 status line
    Answer("§4", "an ordinary answer", THREE, body=b"abc"),
    Answer("§4", "no reason and no space", answer(b"Content-Length: 3", body=b"abc", line=b"HTTP/1.1 200"), body=b"abc"),
    Answer("§4", "an empty reason", answer(b"Content-Length: 3", body=b"abc", line=b"HTTP/1.1 200 "), body=b"abc"),
    Answer("§4", "a status nobody knows", answer(b"Content-Length: 1", body=b"x", line=b"HTTP/1.1 299 Hm"), status=(299,), body=b"x"),
    Answer("§4", "the last status there is", answer(b"Content-Length: 1", body=b"x", line=b"HTTP/1.1 599 Hm"), status=(599,), body=b"x",
           on_target=False),
    invalid("§4", "the status 000", answer(b"Content-Length: 0", line=b"HTTP/1.1 000 Nothing")),
    invalid("§4", "the status 600", answer(b"Content-Length: 0", line=b"HTTP/1.1 600 Much")),
    invalid("§4", "the status 099", answer(b"Content-Length: 0", line=b"HTTP/1.1 099 Low")),
    invalid("§4", "the status 99", answer(b"Content-Length: 0", line=b"HTTP/1.1 99 Low")),
    invalid("§4", "the status 1000", answer(b"Content-Length: 0", line=b"HTTP/1.1 1000 High")),
    invalid("§4", "a status in letters", answer(b"Content-Length: 0", line=b"HTTP/1.1 2OO OK")),
    invalid("§4", "a negative status", answer(b"Content-Length: 0", line=b"HTTP/1.1 -20 OK")),
    invalid("§4", "two spaces before the status", answer(b"Content-Length: 0", line=b"HTTP/1.1  200 OK")),
    invalid("§4", "a tab before the status", answer(b"Content-Length: 0", line=b"HTTP/1.1\t200 OK")),
    invalid("§4", "a NUL in the reason", answer(b"Content-Length: 0", line=b"HTTP/1.1 200 O\x00K")),
    invalid("§4", "a CR in the reason", answer(b"Content-Length: 0", line=b"HTTP/1.1 200 O\rK")),
    invalid("§4", "HTTP/2.0", answer(b"Content-Length: 0", line=b"HTTP/2.0 200 OK")),
    invalid("§4", "HTTP/0.9", answer(b"Content-Length: 0", line=b"HTTP/0.9 200 OK")),
    invalid("§4", "another protocol", answer(b"Content-Length: 0", line=b"ICY 200 OK")),
    invalid("§4", "a lower-case protocol", answer(b"Content-Length: 0", line=b"http/1.1 200 OK")),
    invalid("§4", "a request", G),
    invalid("§4", "nonsense", b"garbage\r\n\r\n"),
    invalid("§2.2", "an empty line before the status line", b"\r\n" + THREE),
    invalid("§2.2", "a status line ended by LF", b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"),
    # §5 fields
    invalid("§5.2", "a folded field", answer(b"X-A: b\r\n c", b"Content-Length: 0")),
    invalid("§5.1", "a space before the colon", answer(b"X-A : b", b"Content-Length: 0")),
    invalid("§5.1", "a field without a colon", answer(b"nocolon", b"Content-Length: 0")),
    invalid("§5.5", "a NUL in a value", answer(b"X-A: \x00", b"Content-Length: 0")),
    invalid("§5.5", "a CR in a value", answer(b"X-A: b\rSet-Cookie: c", b"Content-Length: 0")),
    invalid("§5.5", "a LF in a value", answer(b"X-A: b\nSet-Cookie: c", b"Content-Length: 0")),
    invalid("§5.4", "a head over the limit", answer(*[b"X-A: " + b"b" * 500] * 9, b"Content-Length: 0")),
    invalid("§5.4", "too many fields", answer(*[b"X-A: b"] * 31, b"Content-Length: 0")),
    invalid("§5.4", "a head without end", b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 5000),
    # §6 framing
    invalid("§6.1", "a length beside a coding", answer(b"Content-Length: 3", CHUNKED, body=ABC)),
    invalid("§6.1", "a coding beside a length", answer(CHUNKED, b"Content-Length: 3", body=ABC)),
    invalid("§6.3", "two lengths", answer(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd")),
    invalid("§6.3", "two equal lengths", answer(b"Content-Length: 3", b"Content-Length: 3", body=b"abc")),
    invalid("§6.3", "a list of lengths", answer(b"Content-Length: 3, 3", body=b"abc")),
    invalid("§6.2", "a length with a plus", answer(b"Content-Length: +3", body=b"abc")),
    invalid("§6.2", "a length with a minus", answer(b"Content-Length: -3", body=b"abc")),
    invalid("§6.2", "an empty length", answer(b"Content-Length:", body=b"abc")),
    invalid("§6.1", "another coding", answer(b"Transfer-Encoding: gzip", body=b"abc")),
    invalid("§6.1", "a list of codings", answer(b"Transfer-Encoding: gzip, chunked", body=ABC)),
    invalid("§6.1", "chunked twice", answer(CHUNKED, CHUNKED, body=ABC)),
    invalid("§6.1", "a coding in HTTP/1.0", answer(CHUNKED, body=ABC, line=b"HTTP/1.0 200 OK")),
    invalid("§6.1", "chunked before a non-breaking space", answer(b"Transfer-Encoding: chunked\xa0", body=ABC)),
    invalid("§6.1", "a coding behind a line feed", answer(b"X-A: b\nTransfer-Encoding: chunked", body=ABC)),
    invalid("§6.2", "a length in quotes", answer(b'Content-Length: "3"', body=b"abc")),
    invalid("§6.2", "a length of 2^64 + 3", answer(b"Content-Length: 18446744073709551619", body=b"abc")),
    invalid("§2.2", "a byte-order mark before the status line", b"\xef\xbb\xbf" + THREE),
    invalid("§6.1", "a coding spelt with an underscore", answer(b"Transfer_Encoding: chunked", body=ABC)),
    invalid("9110 §7.6.1", "a length that Connection names", answer(b"Connection: Content-Length", b"Content-Length: 3", body=b"abc")),
    Answer("§7.1", "a chunked answer", answer(CHUNKED, body=ABC), body=b"abc"),
    Answer("§7.1", "a chunked answer with an extension", answer(CHUNKED, body=b"3;a=b\r\nabc\r\n0\r\n\r\n"), body=b"abc"),
    Answer("§7.1.2", "a chunked answer with trailers", answer(CHUNKED, body=b"3\r\nabc\r\n0\r\nX-T: u\r\n\r\n"), body=b"abc"),
    Answer("§7.1", "a chunked answer to HTTP/1.0", answer(CHUNKED, body=ABC), body=b"abc", asked=OLD_X, kept=False,
           lacks=(b"transfer-encoding",)),
    Answer("§6.3", "a close ends the body", answer(body=b"abc"), "fin", body=b"abc", reusable=False),
    Answer("§6.3", "a close ends the body for HTTP/1.0", answer(body=b"abc"), "fin", body=b"abc", reusable=False,
           asked=OLD_X, kept=False),
    Answer("§6.3", "a close ends an empty body", answer(), "fin", reusable=False),
    Answer("§6.2", "a length of 0", answer(b"Content-Length: 0")),
    # §8 incomplete
    Answer("§8", "a close in the middle of a length", answer(b"Content-Length: 5", body=b"abc"), "fin", outcome=BROKEN, kept=False, reusable=False),
    Answer("§8", "a reset in the middle of a length", answer(b"Content-Length: 5", body=b"abc"), "reset", outcome=BROKEN, kept=False, reusable=False),
    Answer("§8", "a close before the first byte of a length", answer(b"Content-Length: 5"), "fin", outcome=BROKEN, kept=False, reusable=False),
    Answer("§8", "a close in the middle of a chunk", answer(CHUNKED, body=b"5\r\nabc"), "fin", outcome=BROKEN, kept=False, reusable=False),
    Answer("§8", "a close between chunks", answer(CHUNKED, body=b"3\r\nabc\r\n"), "fin", outcome=BROKEN, kept=False, reusable=False),
    Answer("§8", "a close in the middle of the last chunk", answer(CHUNKED, body=b"3\r\nabc\r\n0\r\n"), "fin", outcome=BROKEN, kept=False, reusable=False),
    Answer("§8", "a reset between chunks", answer(CHUNKED, body=b"3\r\nabc\r\n"), "reset", outcome=BROKEN, kept=False, reusable=False),
    Answer("§8", "a reset of a body that a close would end", answer(body=b"abc"), "reset", outcome=BROKEN, kept=False, reusable=False),
    Answer("§8", "a reset of such a body to HTTP/1.0", answer(body=b"abc"), "reset", outcome=BROKEN, kept=False, reusable=False,
           asked=OLD_X),
    Answer("§8", "a close in the middle of a chunk to HTTP/1.0", answer(CHUNKED, body=b"5\r\nabc"), "fin", outcome=BROKEN, kept=False,
           reusable=False, asked=OLD_X),
    Answer("§8", "a close in the middle of a head", b"HTTP/1.1 200 OK\r\nConte", "fin", status=(502,), body=ANY, outcome=FAILED, reusable=False),
    Answer("§8", "a close before anything", b"", "fin", status=(502,), body=ANY, outcome=FAILED, reusable=False),
    Answer("§8", "a reset before anything", b"", "reset", status=(502,), body=ANY, outcome=FAILED, reusable=False),
    Answer("§8", "a close after a 1xx", HINTS, "fin", status=(103, 502), body=ANY, outcome=FAILED, reusable=False),
    Answer("§7.1", "a chunk longer than its size", answer(CHUNKED, body=b"3\r\nabcd\r\n0\r\n\r\n"), outcome=BROKEN, kept=False, reusable=False),
    Answer("§7.1", "a bad chunk size", answer(CHUNKED, body=b"3\r\nabc\r\n-1\r\n\r\n"), outcome=BROKEN, kept=False, reusable=False),
    Answer("§7.1", "a bad trailer", answer(CHUNKED, body=b"3\r\nabc\r\n0\r\nX T: u\r\n\r\n"), outcome=BROKEN, kept=False, reusable=False),
    # bytes after the end
    Answer("§9.3", "bytes after a length", THREE + b"x", body=b"abc", reusable=False),
    Answer("§9.3", "a second answer after the first", THREE + THREE, body=b"abc", reusable=False),
    Answer("§9.3", "bytes after the last chunk", answer(CHUNKED, body=ABC + b"x"), body=b"abc", reusable=False),
    Answer("§9.3", "a body after a length of 0", answer(b"Content-Length: 0", body=b"x"), reusable=False),
    # persistence
    Answer("§9.3", "an answer with close", answer(b"Connection: close", b"Content-Length: 3", body=b"abc"), body=b"abc", reusable=False),
    Answer("§9.3", "an answer of HTTP/1.0", answer(b"Content-Length: 3", body=b"abc", line=b"HTTP/1.0 200 OK"), body=b"abc", reusable=False,
           has=(b"Via: 1.0 cutover\r\n",)),
    Answer("§9.3", "an answer of HTTP/1.0 with keep-alive", answer(b"Connection: keep-alive", b"Content-Length: 3", body=b"abc", line=b"HTTP/1.0 200 OK"), body=b"abc"),
    Answer("§9.3", "an answer to HTTP/1.0 with keep-alive", THREE, body=b"abc", asked=OLD_KEEP_X, has=(b"Connection: keep-alive\r\n",)),
    # no body
    Answer("9110 §9.3.2", "an answer to HEAD with a length", answer(b"Content-Length: 3"), asked=HEAD_X, has=(b"Content-Length: 3\r\n",), reusable=False),
    Answer("9110 §9.3.2", "an answer to HEAD without any", answer(b"Content-Length: 0"), asked=HEAD_X),
    Answer("9110 §9.3.2", "an answer to HEAD with a coding", answer(CHUNKED), asked=HEAD_X, reusable=False),
    Answer("9110 §9.3.2", "an answer to HEAD with a body after all", THREE, asked=HEAD_X, reusable=False),
    Answer("9110 §15.3.5", "204", answer(line=b"HTTP/1.1 204 No Content"), status=(204,)),
    Answer("9110 §15.3.5", "204 with a length", answer(b"Content-Length: 0", line=b"HTTP/1.1 204 No Content"), status=(204,), lacks=(b"content-length",)),
    Answer("9110 §15.3.5", "204 with a body after all", answer(b"Content-Length: 3", body=b"abc", line=b"HTTP/1.1 204 No Content"), status=(204,), reusable=False),
    Answer("9110 §15.3.6", "205", answer(b"Content-Length: 0", line=b"HTTP/1.1 205 Reset Content"), status=(205,)),
    Answer("9110 §15.3.6", "205 chunked and empty", answer(CHUNKED, body=b"0\r\n\r\n", line=b"HTTP/1.1 205 Reset Content"), status=(205,)),
    Answer("9110 §15.4.5", "304", answer(b"ETag: a", line=b"HTTP/1.1 304 Not Modified"), status=(304,)),
    Answer("9110 §15.4.5", "304 with the length of what it stands for", answer(b"Content-Length: 99", line=b"HTTP/1.1 304 Not Modified"), status=(304,),
           has=(b"Content-Length: 99\r\n",), reusable=False),
    Answer("9110 §15.4.5", "304 with a body after all", answer(b"Content-Length: 3", body=b"abc", line=b"HTTP/1.1 304 Not Modified"), status=(304,), reusable=False),
    # 1xx
    Answer("9110 §15.2", "103 goes on to HTTP/1.1", HINTS + THREE, status=(103, 200), body=b"abc", has=(b"Link: </a>\r\n",)),
    Answer("9110 §15.2", "103 does not go on to HTTP/1.0", HINTS + THREE, body=b"abc", asked=OLD_X, kept=False, lacks=(b"link",)),
    Answer("9110 §15.2", "two 103 go on", HINTS + HINTS + THREE, status=(103, 103, 200), body=b"abc"),
    Answer("9110 §15.2", "a 1xx nobody knows goes on", answer(line=b"HTTP/1.1 199 Hm") + THREE, status=(199, 200), body=b"abc"),
    Answer("9110 §15.2", "a length in a 1xx is left out", answer(b"Content-Length: 3", line=b"HTTP/1.1 103 Early Hints") + THREE, status=(103, 200), body=b"abc"),
    Answer("9110 §15.2", "a coding in a 1xx is left out", answer(CHUNKED, line=b"HTTP/1.1 103 Early Hints") + THREE, status=(103, 200),
           body=b"abc", lacks=(b"transfer-encoding",)),
    Answer("9110 §15.2", "a 1xx after the answer is nobody's", THREE + HINTS, body=b"abc", reusable=False),
    Answer("9110 §15.2", "a 1xx that closes does not close", answer(b"Connection: close", line=b"HTTP/1.1 103 Early Hints") + THREE,
           status=(103, 200), body=b"abc"),
    Answer("9110 §15.2", "a 100 nobody waits for is left out", answer(line=b"HTTP/1.1 100 Continue") + THREE, body=b"abc"),
    Answer("9110 §15.2", "a storm of 1xx", answer(line=b"HTTP/1.1 102 Processing") * 33 + THREE, status=(*(102,) * 32, 502), body=ANY,
           outcome=FAILED, reusable=False),
    invalid("9110 §15.2.2", "a 101 nobody asked for", answer(b"Connection: Upgrade", b"Upgrade: websocket", line=b"HTTP/1.1 101 Switching")),
    invalid("9110 §15.2.2", "a 101 without Upgrade", answer(line=b"HTTP/1.1 101 Switching")),
    # forwarding
    Answer("9110 §7.6.1", "hop-by-hop fields go no further",
           answer(b"Keep-Alive: timeout=9", b"Proxy-Authenticate: a", b"Proxy-Connection: b", b"Connection: X-N", b"X-N: 1", b"Upgrade: h2c", b"X-K: 2", b"Content-Length: 0"),
           has=(b"X-K: 2\r\n",), lacks=(b"timeout=9", b"proxy-", b"x-n", b"h2c")),
    Answer("9110 §7.6", "an upstream's X-Cutover fields go no further",
           answer(b"X-Cutover-Source: forged", b"x-cutover-SECRET: s", b"X-Request-Id: forged", b"Content-Length: 0"), lacks=(b"forged", b"secret")),
    Answer("9110 §7.6.3", "Via is written", THREE, body=b"abc", has=(b"Via: 1.1 cutover\r\n",)),
    Answer("§5", "order, case and duplicates stay", answer(b"set-cookie: a", b"X-B: 1", b"Set-Cookie: b", b"Content-Length: 0"),
           has=(b"\r\nset-cookie: a\r\nX-B: 1\r\nSet-Cookie: b\r\n",)),
)  # fmt: skip

EXPECT: Final = post(b"Expect: 100-continue", b"Content-Length: 3")
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
TWO: Final = answer(b"Content-Length: 2", body=b"ok")
WEBSOCKET: Final = get(b"Connection: Upgrade", b"Upgrade: websocket")
SWITCH: Final = answer(b"Connection: Upgrade", b"Upgrade: websocket", line=b"HTTP/1.1 101 Switching Protocols")
PUT: Final = post(b"Content-Length: 3", body=b"abc", line=b"PUT /images/1 HTTP/1.1")

DIALOGUES: Final = (
    Dialogue("9110 §10.1.1", "an expectation is met end to end",
             (("client", EXPECT), ("upstream", CONTINUE), ("client", b"abc"), ("upstream", TWO)),
             (100, 200), reaches=(EXPECT + b"abc",)),
    Dialogue("9110 §10.1.1", "a 100 goes on once", (("client", EXPECT), ("upstream", CONTINUE * 3), ("client", b"abc"), ("upstream", TWO)),
             (100, 200), reaches=(EXPECT + b"abc",)),
    Dialogue("9110 §10.1.1", "a 100 before a 103", (("client", EXPECT), ("upstream", CONTINUE + HINTS), ("client", b"abc"), ("upstream", TWO)),
             (100, 103, 200), reaches=(EXPECT + b"abc",)),
    Dialogue("9110 §10.1.1", "a client need not wait", (("client", EXPECT + b"abc"), ("upstream", CONTINUE + TWO)), (200,), reaches=(EXPECT + b"abc",)),
    Dialogue("9110 §10.1.1", "a refusal in place of a 100 closes",
             (("client", EXPECT), ("upstream", answer(b"Content-Length: 2", body=b"no", line=b"HTTP/1.1 417 No"))),
             (417,), b"no", kept=False),
    Dialogue("9110 §10.1.1", "an expectation of a chunked body is met",
             (("client", post(b"Expect: 100-continue", CHUNKED)), ("upstream", CONTINUE), ("client", ABC), ("upstream", TWO)),
             (100, 200), reaches=(post(b"Expect: 100-continue", CHUNKED, body=ABC),)),
    Dialogue("9110 §10.1.1", "HTTP/1.0 is sent no 100",
             (("client", post(b"Expect: 100-continue", b"Content-Length: 3", line=b"POST /images HTTP/1.0")), ("upstream", CONTINUE),
              ("client", b"abc"), ("upstream", TWO)),
             (200,), kept=False, reaches=(EXPECT + b"abc",)),
    Dialogue("9110 §10.1.1", "an answer to half an expectation closes both",
             (("client", post(b"Expect: y 100-continue", b"Content-Length: 3")), ("upstream", TWO), ("client", b"abc" + G)), (200,), kept=False),
    Dialogue("9110 §10.1.1", "an answer to a GET's expectation closes both",
             (("client", post(b"Expect: 100-continue", b"Content-Length: 3", line=b"GET /images/1 HTTP/1.1")), ("upstream", TWO),
              ("client", b"abc" + G)), (200,), kept=False),
    Dialogue("§9.3", "an answer before the body is finished closes both",
             (("client", post(b"Content-Length: 9", body=b"abc")), ("upstream", TWO)), (200,), kept=False),
    Dialogue("§9.3", "an answer before a chunked body is finished closes both",
             (("client", post(CHUNKED, body=b"3\r\nabc\r\n")), ("upstream", TWO)), (200,), kept=False),
    Dialogue("§9.3", "what the client sends after an early answer reaches nobody",
             (("client", post(b"Content-Length: 90", body=b"abc")), ("upstream", TWO), ("client", G)), (200,), kept=False),
    Dialogue("§9.3.1", "a stale connection is replaced for GET",
             (("client", G), ("upstream", TWO), ("client", G), ("upstream", b"FIN"), ("upstream", TWO)), (200, 200), reaches=(G, G, G), opened=2),
    Dialogue("§9.3.1", "a stale connection is replaced for PUT",
             (("client", PUT), ("upstream", TWO), ("client", PUT), ("upstream", b"RST"), ("upstream", TWO)), (200, 200), reaches=(PUT, PUT, PUT), opened=2),
    Dialogue("§9.3.1", "a stale connection is not replaced for POST",
             (("client", POST), ("upstream", TWO), ("client", POST), ("upstream", b"FIN")), (200, 502), ANY, reaches=(POST, POST)),
    Dialogue("§9.3.1", "a connection closed while idle is not used",
             (("client", G), ("upstream", TWO), ("upstream", b"FIN"), ("client", G), ("upstream", TWO)), (200, 200), reaches=(G, G), opened=2),
    Dialogue("§9.3", "an answer on an idle connection is nobody's",
             (("client", G), ("upstream", TWO), ("upstream", THREE), ("client", G), ("upstream", TWO)), (200, 200), reaches=(G, G), opened=2),
    Dialogue("§9.3", "a 408 on an idle connection is nobody's",
             (("client", G), ("upstream", TWO), ("upstream", answer(b"Connection: close", b"Content-Length: 0", line=b"HTTP/1.1 408 Slow")),
              ("upstream", b"FIN"), ("client", G), ("upstream", TWO)), (200, 200), reaches=(G, G), opened=2),
    Dialogue("§9.3", "an empty line on an idle connection closes it",
             (("client", G), ("upstream", TWO), ("upstream", b"\r\n"), ("client", G), ("upstream", TWO)), (200, 200), reaches=(G, G), opened=2),
    Dialogue("§9.3.2", "pipelined answers stay in order",
             (("client", G + PUT + G), ("upstream", TWO), ("upstream", answer(b"Content-Length: 3", body=b"two")), ("upstream", answer(CHUNKED, body=ABC))),
             (200, 200, 200), b"abc", reaches=(G, PUT, G)),
    Dialogue("9110 §7.8", "bytes of the other protocol go both ways",
             (("client", WEBSOCKET), ("upstream", SWITCH), ("client", b"\x81\x02hi"), ("upstream", b"\x81\x03abc")), (101,), b"\x81\x03abc",
             kept=False),
    Dialogue("9110 §7.8", "an answer in place of a switch is an answer",
             (("client", WEBSOCKET), ("upstream", TWO)), (200,), reaches=(WEBSOCKET,)),
    Dialogue("9110 §7.8", "a request smuggled behind a refused upgrade is the next request",
             (("client", get(b"Connection: Upgrade", b"Upgrade: h2c") + G), ("upstream", TWO), ("upstream", TWO)), (200, 200), reaches=(G, G)),
)  # fmt: skip
