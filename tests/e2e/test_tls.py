"""TLS towards the target is verified, always; and Unix sockets on both sides."""

import datetime
import ipaddress
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.conftest import Server, StartServer, StartSidecar
from tests.e2e.sidecar import config, eventually
from tests.e2e.test_failures import Change, attempts, counted, does
from tests.e2e.upstream import MIB, pattern_sha256

DAY = datetime.timedelta(days=1)


@dataclass
class Authority:
    """A certificate authority of the tests' own, in a directory."""

    directory: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def file(self) -> str:
        return str(self.directory / "ca.pem")

    def issue(self, name: str, *, days: int = 2) -> tuple[str, str]:
        """A certificate for 127.0.0.1 and `name`; gives the files of certificate and key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        if name.endswith(".only"):
            names.pop()
        certificate = (
            _builder(name, self.certificate.subject, key.public_key(), days)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        files = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(_key_bytes(key))
        return str(files[0]), str(files[1])

    def server_context(self, name: str, *, days: int = 2, clients: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(name, days=days))
        context.set_alpn_protocols(["http/1.1"])
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.file)
        return context


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _builder(name: str, issuer: x509.Name | None, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    end = datetime.datetime.now(datetime.UTC) + DAY * days
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - DAY * 30)
        .not_valid_after(end)
    )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return new_authority(tmp_path_factory.mktemp("tls"))


def new_authority(directory: Path) -> Authority:
    """Make one; its certificate is `ca.pem` in the directory."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder("Test CA", None, key.public_key(), 10)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(directory, key, certificate)


@pytest.fixture
def legacy(start_server: StartServer) -> Server:
    return start_server("legacy")


def test_a_target_whose_certificate_the_ca_file_vouches_for_is_used(
    authority: Authority, legacy: Server, start_server: StartServer, start_sidecar: StartSidecar
) -> None:
    target = start_server("target", tls=authority.server_context("images.test"))
    tls = {"ca_file": authority.file}
    url = f"https://127.0.0.1:{target.port}"
    sidecar = start_sidecar(config(legacy.url, url, target={"tls": tls}))
    for number in range(5):
        answer = sidecar.ask("GET", f"/images/{number}", does())
        assert answer.body.startswith(f"target GET /images/{number} ".encode())
    large = sidecar.ask("GET", "/images/1", does(f"length:{8 * MIB}"))
    assert large.sha256 == pattern_sha256(8 * MIB)
    assert sidecar.ask("POST", "/images", does(), b"x" * MIB).body.startswith(b"target POST /images 1048576 ")
    for what, kind in (("reset", "reset"), ("cut-length:1000", "reset"), ("black-hole", "timeout")):
        assert sidecar.ask("GET", "/images/1", does(what))["X-Cutover-Fallback"] == kind


def test_the_server_name_is_what_the_certificate_must_say(
    authority: Authority, legacy: Server, start_server: StartServer, start_sidecar: StartSidecar
) -> None:
    target = start_server("target", tls=authority.server_context("images.only"))
    tls = {"ca_file": authority.file, "server_name": "images.only"}
    url = f"https://127.0.0.1:{target.port}"
    sidecar = start_sidecar(config(legacy.url, url, target={"tls": tls}))
    assert sidecar.ask("GET", "/images/1").answered_by == "target"


@pytest.mark.parametrize("what", ["no ca_file", "wrong server_name", "expired", "plain text", "hang-up"])
def test_a_target_that_can_not_be_trusted_hears_nothing_and_every_method_falls_back(
    what: str,
    authority: Authority,
    legacy: Server,
    start_server: StartServer,
    start_sidecar: StartSidecar,
    stack: ExitStack,
) -> None:
    tls: dict[str, str] = {"ca_file": authority.file}
    context = authority.server_context("images.test")
    if what == "no ca_file":
        tls = {}
    elif what == "wrong server_name":
        tls["server_name"] = "wrong.test"
    elif what == "expired":
        context = authority.server_context("images.test", days=-1)
    target = start_server("target", tls=context)
    if what in ("plain text", "hang-up"):
        port = stack.enter_context(_no_tls_server(b"HTTP/1.1 400 Bad\r\n\r\n" if what == "plain text" else b""))
    else:
        port = target.port
    sidecar = start_sidecar(config(legacy.url, f"https://127.0.0.1:{port}", target={"tls": tls}))
    for method, path, operation in (("GET", "/images/1", "get"), ("POST", "/images", "upload")):
        change = Change(sidecar)
        answer = sidecar.ask(method, path, does(), b"body" if method == "POST" else None)
        assert (answer.status, answer.answered_by) == (200, "legacy")
        assert answer["X-Cutover-Fallback"] == "tls_error"
        expected = counted(operation=operation, reason="tls_error", result="served")
        assert change.of("cutover_fallbacks_total") == expected
        assert change.of("cutover_attempts_total") == attempts(operation, "tls_error", "ok")
    assert [seen for seen in target.seen if seen.line.endswith(b"HTTP/1.1")] == []
    warnings = eventually(lambda: sidecar.events("upstream_unreachable"))
    assert [(line["source"], line["kind"]) for line in warnings] == [("image_service", "tls_error")]


@contextmanager
def _no_tls_server(says: bytes) -> Iterator[int]:
    """A server that answers any first bytes with `says` and hangs up."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            self.request.sendall(says)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def test_a_target_that_wants_a_client_certificate_and_gets_none_hears_nothing(
    authority: Authority, legacy: Server, start_server: StartServer, start_sidecar: StartSidecar
) -> None:
    """TLS 1.3 tells the client of that only after its handshake, so it may look like a reset."""
    target = start_server("target", tls=authority.server_context("images.test", clients=True))
    tls = {"ca_file": authority.file}
    sidecar = start_sidecar(config(legacy.url, f"https://127.0.0.1:{target.port}", target={"tls": tls}))
    answer = sidecar.ask("GET", "/images/1")
    assert (answer.status, answer.answered_by) == (200, "legacy")
    assert answer["X-Cutover-Fallback"] in ("tls_error", "reset")
    assert sidecar.ask("POST", "/images", {}, b"b").status in (200, 502)
    assert target.seen == []


def test_a_client_certificate_is_shown_to_the_target(
    authority: Authority, legacy: Server, start_server: StartServer, start_sidecar: StartSidecar
) -> None:
    target = start_server("target", tls=authority.server_context("images.test", clients=True))
    cert_file, key_file = authority.issue("sidecar.test")
    tls = {"ca_file": authority.file, "cert_file": cert_file, "key_file": key_file}
    sidecar = start_sidecar(config(legacy.url, f"https://127.0.0.1:{target.port}", target={"tls": tls}))
    assert sidecar.ask("GET", "/images/1").answered_by == "target"


# Unix sockets


def test_upstreams_and_clients_may_be_on_unix_sockets(
    start_server: StartServer, start_sidecar: StartSidecar, tmp_path: Path
) -> None:
    legacy = start_server("legacy", path=str(tmp_path / "legacy.sock"))
    target = start_server("target", path=str(tmp_path / "target.sock"))
    listen, admin = tmp_path / "cutover.sock", tmp_path / "admin.sock"
    settings = config(
        legacy.url, target.url, listen=f"unix:{listen}", admin={"listen": f"unix:{admin}"}, target={"host": "upstream"}
    )
    sidecar = start_sidecar(settings)
    assert (sidecar.address, sidecar.admin) == (f"unix:{listen}", f"unix:{admin}")
    for _ in range(3):
        assert sidecar.ask("GET", "/images/1", does()).answered_by == "target"
    assert sidecar.ask("GET", "/images/1", does("reset")).answered_by == "legacy"
    assert target.seen[0].one("Host") == b"localhost"
    assert target.seen[0].one("X-Forwarded-For") is None
    assert sidecar.ask_admin("GET", "/readyz").status == 200
    target.stop()
    (tmp_path / "target.sock").unlink(missing_ok=True)
    assert sidecar.ask("POST", "/images", does(), b"b")["X-Cutover-Fallback"] == "connect_error"
    sidecar.stop()
    assert not listen.exists()
    assert not admin.exists()


def test_a_unix_socket_left_behind_by_a_dead_process_is_taken_over(
    start_server: StartServer, start_sidecar: StartSidecar, tmp_path: Path
) -> None:
    legacy = start_server("legacy")
    settings = config(legacy.url, legacy.url, listen=f"unix:{tmp_path / 'cutover.sock'}")
    first = start_sidecar(settings)
    first.process.kill()
    first.wait()
    assert (tmp_path / "cutover.sock").exists()
    assert start_sidecar(settings).ask("GET", "/images/1").status == 200


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_new_connection_resumes_the_session_of_an_earlier_one(
    newest: ssl.TLSVersion, authority: Authority, legacy: Server, start_sidecar: StartSidecar
) -> None:
    context = authority.server_context("images.test")
    context.maximum_version = newest
    resumed: list[bool | None] = []

    def answer(sock: ssl.SSLSocket) -> None:
        resumed.append(sock.session_reused)
        while sock.recv(4096):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with tls_server(context, answer) as url:
        target = {"tls": {"ca_file": authority.file}, "pool": {"idle_timeout": "200ms"}}
        sidecar = start_sidecar(config(legacy.url, url, target=target))
        assert sidecar.ask("GET", "/images/1").body == b"ok"
        made = len(resumed)  # the look at the start, and the request's

        def asked_anew() -> bool:
            assert sidecar.ask("GET", "/images/1").body == b"ok"
            time.sleep(0.4)
            return len(resumed) > made

        eventually(asked_anew)
    assert resumed[0] is False
    assert resumed[made] is True


@contextmanager
def tls_server(context: ssl.SSLContext, handle: Callable[[ssl.SSLSocket], None]) -> Iterator[str]:
    """A server whose connections are `handle`d each in a thread; gives its URL."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with context.wrap_socket(self.request, server_side=True) as sock:
                handle(sock)

    class ThreadingServer(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with ThreadingServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("said", [True, False], ids=["with a close_notify", "with a bare FIN"])
def test_over_tls_only_a_close_notify_ends_a_body_that_a_close_ends(
    said: bool, authority: Authority, legacy: Server, start_sidecar: StartSidecar
) -> None:
    """Anybody on the way can make a FIN (RFC 9112 section 9.8)."""

    def answer(sock: ssl.SSLSocket) -> None:
        if sock.recv(4096):
            sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nok")
            if said:
                sock.unwrap()
            else:
                sock.shutdown(socket.SHUT_WR)

    with tls_server(authority.server_context("images.test"), answer) as url:
        sidecar = start_sidecar(config(legacy.url, url, target={"tls": {"ca_file": authority.file}}))
        got = sidecar.ask("GET", "/images/1")
    if said:
        assert (got.status, got.body, got["X-Cutover-Fallback"]) == (200, b"ok", None)
    else:
        assert (got.answered_by, got["X-Cutover-Fallback"]) == ("legacy", "reset")
