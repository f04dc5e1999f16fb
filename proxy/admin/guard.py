"""Who may change things: the token, and pages of other sites that may not.

Pure functions of a request's headers and of what `Control` says; each raises `Refusal` or returns. Browsers
send requests to loopback addresses for any page, so "only this machine can reach it" is not enough: a
change must not come from another site's page (Origin, Sec-Fetch-Site), nor through a name that an attacker
lets point here (Host). No browser reaches a Unix socket.
"""

import hmac
import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from proxy.admin.control import Control
from proxy.admin.problems import Refusal


def check_change(headers: Mapping[str, str], control: Control, *, over_unix: bool = False) -> None:
    """Let a change pass, or raise: 403 for another site's page or a missing right, 401 for a wrong token."""
    refuse_cross_site(headers)
    token = control.admin_token()
    if token:
        check_token(headers.get("Authorization", ""), token)
        return
    if not control.listens_on_loopback_only():
        raise Refusal(403, "changes need admin.token, or an admin port that listens on loopback only")
    host = headers.get("Host", "")
    if host and not over_unix and not is_loopback_host(host):
        raise Refusal(403, "without admin.token, Host must be a loopback name or address")


def refuse_cross_site(headers: Mapping[str, str]) -> None:
    """Raise 403 for a request that a browser made for a page from somewhere else."""
    if headers.get("Sec-Fetch-Site", "none").lower() not in ("same-origin", "none"):
        raise Refusal(403, "cross-site requests are refused")
    origin = headers.get("Origin")
    # The scheme is not compared: a proxy that ends TLS in front of us would make it differ.
    if origin is not None and _authority(origin) != headers.get("Host", "").lower():
        raise Refusal(403, "requests from another origin are refused")


def check_token(authorization: str, token: str) -> None:
    """Raise 401 unless the header carries this bearer token; compared in constant time."""
    scheme, _, given = authorization.partition(" ")
    right = hmac.compare_digest(_bytes(given.strip()), _bytes(token))
    if scheme.lower() != "bearer" or not right:
        challenge = 'Bearer realm="cutover"'
        raise Refusal(401, "this needs Authorization: Bearer TOKEN", {"WWW-Authenticate": challenge})


def is_loopback_host(host: str) -> bool:
    """Whether a Host value names this machine only: localhost, 127.0.0.0/8 or [::1], and any port."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name in ("localhost", "localhost."):
            return True
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _authority(origin: str) -> str | None:
    """Give an origin's host and port; None for `null` and for what is no origin."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in ("http", "https") and parts.netloc else None


def _bytes(text: str) -> bytes:
    # Header values arrive with bytes outside UTF-8 as surrogates.
    return text.encode("utf-8", "surrogateescape")
