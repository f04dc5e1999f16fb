"""Finds the user id in a request: the first configured place that holds a non-empty one.

The id is a routing key and nothing more: a JWT's signature is not looked at, because the edge in front has
done so and because a forged id only chooses which of two equivalent backends answers its forger.
Neighbours: `heads` supplies the header values, `bucketing` hashes the result.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final

from proxy.core.heads import RequestHead

_WHITE_SPACE: Final = b" \t\r\n\v\f"
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})").search
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_MAX_CLAIM_DIGITS: Final = 40


class IdKind(StrEnum):
    """Where a user id may stand."""

    HEADER = "header"
    JWT_CLAIM = "jwt_claim"
    COOKIE = "cookie"
    QUERY = "query"


@dataclass(frozen=True, slots=True)
class Extractor:
    """One place to look: the lower-case header, or the claim, cookie or query name."""

    kind: IdKind
    name: bytes


def find_user_id(extractors: Sequence[Extractor], head: RequestHead) -> bytes | None:
    """The first non-empty user id, as bytes, or None."""
    for extractor in extractors:
        found = _READERS[extractor.kind](extractor.name, head)
        if found:
            return found
    return None


def _from_header(name: bytes, head: RequestHead) -> bytes | None:
    values = head.noted.get(name)
    return values[0].strip(_WHITE_SPACE) if values else None


def _from_cookie(name: bytes, head: RequestHead) -> bytes | None:
    for line in head.noted.get(b"cookie", ()):
        for pair in line.split(b";"):
            key, equals, value = pair.partition(b"=")
            if equals and key.strip(_WHITE_SPACE) == name:
                return value.strip(_WHITE_SPACE)
    return None


def _from_query(name: bytes, head: RequestHead) -> bytes | None:
    for pair in head.query.split(b"&"):
        key, _, value = pair.partition(b"=")
        if key == name or _form_decoded(key) == name:
            return _form_decoded(value)
    return None


def _form_decoded(text: bytes) -> bytes | None:
    """Percent-decoded with `+` a space (WHATWG form encoding); None when an escape is broken."""
    if b"+" in text:
        text = text.replace(b"+", b" ")
    if b"%" not in text:
        return text
    if _BROKEN_ESCAPE(text):
        return None
    return _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), text)


def _from_jwt(name: bytes, head: RequestHead) -> bytes | None:
    values = head.noted.get(b"authorization")
    if not values:
        return None
    scheme, _, token = values[0].partition(b" ")
    if scheme.lower() != b"bearer":
        return None
    parts = token.strip(_WHITE_SPACE).split(b".")
    if len(parts) != 3:
        return None
    return claim_of(parts[1], name)


def claim_of(payload: bytes, name: bytes) -> bytes | None:
    """The claim of a base64url JWT payload as text: a string as it is, a number in plain decimal.

    None for anything else, broken or absurd: bad base64, JSON that is no object, nesting without end,
    a number of more digits than any identifier has, a lone surrogate.
    """
    try:
        raw = base64.b64decode(payload + b"=" * (-len(payload) % 4), altchars=b"-_", validate=True)
        claims = json.loads(raw, parse_int=_plain_decimal, parse_float=_plain_decimal)
        if not isinstance(claims, dict):
            return None
        claim = claims.get(name.decode())
        return claim.encode() if isinstance(claim, str) else None
    except (binascii.Error, ValueError, RecursionError):
        return None


def _plain_decimal(text: str) -> str | None:
    if len(text) > _MAX_CLAIM_DIGITS:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if number.adjusted() > _MAX_CLAIM_DIGITS or number.adjusted() < -_MAX_CLAIM_DIGITS:
        return None
    if number == number.to_integral_value():
        return str(int(number))
    return format(number, "f").rstrip("0")  # exact: normalize() would round to 28 digits


_READERS: Final[dict[IdKind, Callable[[bytes, RequestHead], bytes | None]]] = {
    IdKind.HEADER: _from_header,
    IdKind.JWT_CLAIM: _from_jwt,
    IdKind.COOKIE: _from_cookie,
    IdKind.QUERY: _from_query,
}
