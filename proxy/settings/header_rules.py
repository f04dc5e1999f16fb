"""Which headers a configuration may set or remove, and which of their values are secrets.

Pure. RFC 9110 section 5.1 (names are tokens) and 5.5 (values).
"""

import re
from typing import Annotated, Final

from proxy.settings.raw import NumberLike, Secret, Substituted, kind_of
from proxy.settings.scalars import Scalar, parsed, read_text, rejected

FIELD_NAME_PATTERN: Final = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")

_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
_HOP_BY_HOP: Final = frozenset({"connection", "expect", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"})
_SENSITIVE: Final = re.compile(r"authorization|cookie|token|secret|key|passw|credential", re.IGNORECASE)


def is_sensitive(header_name: str) -> bool:
    """Whether the value of a header of this name must never be shown."""
    return bool(_SENSITIVE.search(header_name))


def _parse_name(text: str) -> str:
    if not FIELD_NAME.fullmatch(text):
        raise ValueError("expected a header name (letters, digits and !#$%&'*+-.^_`|~)")
    return text


def _parse_name_to_set(text: str) -> str:
    folded = _parse_name(text).lower()
    if folded == "host":
        raise ValueError("expected another header: the upstream's Host is the key `host`")
    if folded in _FRAMING | _HOP_BY_HOP:
        raise ValueError("expected an end-to-end header: this one belongs to a connection, and cutover writes it")
    return text


def _parse_name_to_remove(text: str) -> str:
    if _parse_name(text).lower() in _FRAMING | {"host"}:
        raise ValueError("expected a header that a request can do without")
    return text


def _read_value(value: object) -> str:
    """A header value; marked as secret when any of it was substituted."""
    if isinstance(value, NumberLike) or not isinstance(value, str):
        raise rejected(f"expected text, got {kind_of(value)}", "put it in quotes")
    text = read_text(value).strip(" \t")
    if not all(character == "\t" or " " <= character <= "~" for character in text):
        raise rejected("a header value may hold only visible ASCII characters, spaces and tabs")
    return Secret(text) if isinstance(value, Substituted) else text


_NAME_SCHEMA: Final = {"type": "string", "pattern": FIELD_NAME_PATTERN}

HeaderName = Annotated[str, parsed(_parse_name, _NAME_SCHEMA)]
HeaderNameToSet = Annotated[str, parsed(_parse_name_to_set, _NAME_SCHEMA)]
HeaderNameToRemove = Annotated[str, parsed(_parse_name_to_remove, _NAME_SCHEMA)]
HeaderValue = Annotated[str, Scalar(_read_value, {"type": "string"})]
