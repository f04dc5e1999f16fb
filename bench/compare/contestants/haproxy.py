"""HAProxy: a hash of the header modulo 100, layer-7 retries that go to another server."""

from bench.compare.contestants.base import Contestant, Setup, first_line, program

CONFIG = """\
global
    nbthread {workers}
    log stdout format raw local0 info
    no insecure-fork-wanted
defaults
    mode http
    log global
    log-format '{{"ts":"%tr","method":"%HM","path":"%[capture.req.uri,json(utf8s)]","source":"%b/%s","status":%ST,\
"duration_ms":%Ta,"bytes_in":%U,"bytes_out":%B,"request_id":"%ID","retries":"%rc"}}'
    timeout client 10m
    timeout http-keep-alive 10m
    timeout http-request 10s
    timeout connect {connect_ms:.0f}ms
    timeout server {attempt_ms:.0f}ms
    timeout check 500ms
    http-reuse always
    retries 1
    option redispatch 1
    retry-on conn-failure empty-response junk-response response-timeout 401 403 404 408 500 502 503 504
frontend front
    bind 127.0.0.1:{port} backlog 4096
    unique-id-format %[uuid()]
    unique-id-header X-Request-Id
    option forwardfor
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    use_backend target if {{ req.hdr(x-user-id),xxh32,mod(100) -m int lt {percentage} }}
    default_backend legacy
backend target
    balance first
    option httpchk GET /health
    http-response set-header X-Source target
    server target 127.0.0.1:{target} id 1 check inter 500ms fall 2 rise 1 pool-max-conn 512 {tls}
    server legacy 127.0.0.1:{legacy} id 2 pool-max-conn 512 {tls}
backend legacy
    http-response set-header X-Source legacy
    server legacy 127.0.0.1:{legacy} pool-max-conn 512 {tls}
"""


class Haproxy(Contestant):
    """One thread for each worker asked for."""

    name = "haproxy"
    label = "HAProxy"
    description = (
        "`nbthread 1`. `req.hdr(x-user-id),xxh32,mod(100)`; `http-reuse always`. The target's backend lists target "
        "and legacy with `balance first`; `retry-on` failures, timeouts and statuses with `option redispatch 1`, so "
        "the one retry goes to legacy. Active health checks each 500 ms, two failures of 500 ms put the target aside "
        "(its passive `observe` does not count failures that were retried). JSON access log to standard output, "
        "which is a file: a write for each line."
    )
    logs = "haproxy.out"

    def missing(self) -> str | None:
        return None if program("haproxy") else "apt-get install haproxy"

    def version(self) -> str:
        return first_line(program("haproxy") or "haproxy", "-v").split()[2]

    def prepare(self, setup: Setup) -> list[str]:
        legacy, target = setup.ports
        tls = f"ssl verify required ca-file {setup.certificate} verifyhost localhost sni str(localhost)"
        text = CONFIG.format(
            workers=setup.workers,
            port=setup.port,
            legacy=legacy,
            target=target,
            percentage=setup.percentage,
            connect_ms=setup.connect_timeout_s * 1000,
            attempt_ms=setup.attempt_timeout_s * 1000,
            tls=tls if setup.tls else "",
        )
        return [program("haproxy") or "haproxy", "-db", "-f", str(setup.write("haproxy.cfg", text))]
