"""Whether the files of a `tls` section hold what they should: said at load, with their line, and not at a request.

Neighbour: `load` reports what is found; `net.tls` then uses the same files.
"""

import ssl

from proxy.settings.sources import Tls


def find_unusable(tls: Tls) -> tuple[str, str] | None:
    """The first key whose file can't be used, and why; None when all is well."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.ca_file is not None:
        try:
            context.load_verify_locations(tls.ca_file)
        except OSError:
            return "ca_file", "holds no usable certificate in PEM form"
    if tls.cert_file is not None:
        try:
            context.load_cert_chain(tls.cert_file, tls.key_file, password="")  # or it would ask on a terminal
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                return ("key_file" if tls.key_file is not None else "cert_file"), "does not belong to the certificate"
            return "cert_file", "holds, with key_file, no usable certificate and unencrypted key in PEM form"
        except OSError:
            return "cert_file", "can't be read"
    return None
