"""What can be wrong with a message, as exceptions that carry the facts an answer needs.

A request's fault is the client's (it gets `status`); a response's fault is the upstream's (the attempt fails
as `invalid_response`).
"""

from enum import StrEnum


class RequestFault(StrEnum):
    """What a client did wrong: the `kind` label of `cutover_client_errors_total`."""

    MALFORMED = "malformed"
    VERSION = "version"
    METHOD = "method"
    TRANSFER_CODING = "transfer_coding"
    HEADERS_TOO_LARGE = "headers_too_large"
    URI_TOO_LONG = "uri_too_long"
    TOO_LARGE = "too_large"
    HEADER_TIMEOUT = "header_timeout"
    BODY_TIMEOUT = "body_timeout"
    CONNECTION_LIMIT = "connection_limit"


class MalformedRequest(Exception):
    """A request that is refused with `status`; nothing of it may reach an upstream. `method` is b"" while unknown."""

    def __init__(self, detail: str, status: int = 400, fault: RequestFault = RequestFault.MALFORMED) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.fault = fault
        self.method = b""


class MalformedResponse(Exception):
    """A response that cannot be trusted; its connection must be closed and nothing of it used."""


class MalformedBody(Exception):
    """A chunked body that breaks the grammar, on either side."""
