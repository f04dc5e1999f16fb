"""The two upstreams: an nginx each, with fixed bodies, which says its name in every answer.

Both are on the load's CPUs. `freeze` makes one a black hole: the kernel still accepts, nobody answers.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from bench.compare.processes import Program, free_port

KIB: Final = 1024
BODIES: Final = {"500B": 500, "64KiB": 64 * KIB, "1MiB": KIB * KIB, "100MiB": 100 * KIB * KIB}
FAILING: Final = "/images/failing"
"""503 from the target, 200 from legacy."""

CONFIG: Final = """\
{user}daemon off; worker_processes 1; pid {directory}/{name}.pid; error_log {directory}/{name}.err;
events {{ worker_connections 16000; multi_accept on; }}
http {{
    access_log off; sendfile on; tcp_nodelay on; tcp_nopush off; default_type application/json; server_tokens off;
    keepalive_timeout 600s; keepalive_requests 1000000000; open_file_cache max=100; open_file_cache_valid 600s;
    client_body_temp_path {directory}/{name}-body; proxy_temp_path {directory}/{name}-proxy;
    fastcgi_temp_path {directory}/{name}-f; uwsgi_temp_path {directory}/{name}-u; scgi_temp_path {directory}/{name}-s;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        listen 127.0.0.1:{tls_port} ssl backlog=4096;
        ssl_certificate {directory}/upstream.crt; ssl_certificate_key {directory}/upstream.key;
        ssl_session_cache shared:s:1m;
        root {directory}/bodies;
        add_header X-Backend {name} always;
        location = /health {{ return 204; }}
        location = /images/500B {{ return 200 "{small}"; }}
        location = {failing} {{ return {failing_status} "{small}"; }}
    }}
}}
"""


def nginx_user() -> str:
    """The line that keeps nginx's workers able to read a directory of ours when it is started by root."""
    return "user root;\n" if os.geteuid() == 0 else ""


def make_material(directory: Path) -> None:
    """Write the bodies and a certificate for the loopback address."""
    bodies = directory / "bodies" / "images"
    bodies.mkdir(parents=True)
    for name, size in BODIES.items():
        (bodies / name).write_bytes(b"x" * size)
    command = [shutil.which("openssl") or "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
    command += ["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", str(directory / "upstream.key"), "-out", str(directory / "upstream.crt")]
    subprocess.run(command, check=True, capture_output=True, timeout=30)  # noqa: S603 - fixed arguments


class Upstream:
    """One nginx. Start it before asking, stop it to take it down; it keeps its ports."""

    def __init__(self, name: str, directory: Path, nginx: str, cpus: Iterable[int]) -> None:
        self.name, self.certificate = name, directory / "upstream.crt"
        self.port, self.tls_port = free_port(), free_port()
        self._cpus, self._nginx, self._directory = frozenset(cpus), nginx, directory
        self._config = directory / f"upstream-{name}.conf"
        self._config.write_text(
            CONFIG.format(
                user=nginx_user(),
                directory=directory,
                name=name,
                port=self.port,
                tls_port=self.tls_port,
                small="x" * BODIES["500B"],
                failing=FAILING,
                failing_status=503 if name == "target" else 200,
            )
        )
        self._program: Program | None = None

    def __repr__(self) -> str:
        return f"<Upstream {self.name} port={self.port} {self._program!r}>"

    def start(self) -> None:
        output = self._directory / f"upstream-{self.name}.out"
        self._program = Program([self._nginx, "-c", str(self._config)], cpus=self._cpus, output=output)
        self._program.await_port(self.port)

    def stop(self) -> None:
        if self._program is not None:
            self._program.stop()

    def freeze(self) -> None:
        if self._program is not None:
            self._program.send(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._program is not None:
            self._program.send(signal.SIGCONT)
