"""TLS towards an upstream: always verified, TLS 1.2 at least, HTTP/1.1 by ALPN, sessions resumed."""

import ssl
from typing import Any

from proxy.settings.schema import Tls


class ResumingContext(ssl.SSLContext):
    """Offers the last session on each new connection, so that a handshake costs the upstream no signature.

    asyncio and uvloop have no argument for a session, but make their TLS objects through `wrap_bio`.
    """

    _session: ssl.SSLSession | None = None

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:  # noqa: ANN401 - passed on as they come
        """See ssl.SSLContext."""
        kwargs.setdefault("session", self._session)
        return super().wrap_bio(*args, **kwargs)

    def remember(self, connection: ssl.SSLObject) -> None:
        """Keep the session of a connection on which something was read: with TLS 1.3 it comes after the handshake."""
        if connection.session is not None and connection.session.has_ticket:
            self._session = connection.session


def client_context(tls: Tls) -> ssl.SSLContext:
    """Build the context for a source's `https` URL.

    Raises OSError (ssl.SSLError among them) when a file can't be read or does not hold what it should.
    """
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)  # which checks certificate and name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if tls.ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(tls.ca_file)
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file, password="")
    return context
