"""TLS towards an upstream: always verified, TLS 1.2 at least, HTTP/1.1 by ALPN."""

import ssl

from proxy.settings.schema import Tls


def client_context(tls: Tls) -> ssl.SSLContext:
    """Build the context for a source's `https` URL.

    Raises OSError (ssl.SSLError among them) when a file can't be read or does not hold what it should.
    """
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context
