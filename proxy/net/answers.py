"""The answers that the proxy makes itself: problem details (RFC 9457) for errors of its own.

Pure bytes. Neighbours: `handler` and `downstream` send them.
"""

import json
from email.utils import formatdate
from typing import Final

_TITLES: Final = {
    400: "Bad Request",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}
_EXTRA: Final = {
    405: b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n",
    503: b"Retry-After: 1\r\n",
}


def problem(status: int, detail: str, request_id: bytes, added: bytes = b"", *, with_body: bool = True) -> bytes:
    """One whole response; `added` are further header lines, each with its CRLF. No body in answer to HEAD."""
    title = _TITLES[status]
    body = json.dumps(
        {"title": title, "status": status, "detail": detail, "request_id": request_id.decode("latin-1")}
    ).encode()
    return (
        b"HTTP/1.1 %d %b\r\nDate: %b\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n%b%b\r\n%b"
        % (
            status,
            title.encode(),
            formatdate(usegmt=True).encode(),
            len(body),
            _EXTRA.get(status, b""),
            added,
            body if with_body else b"",
        )
    )
