"""nginx: `split_clients` on the header, the target's upstream with legacy as its backup."""

from bench.compare.contestants.base import Contestant, Setup, first_line, program
from bench.compare.upstreams import nginx_user

CONFIG = """\
{user}daemon off; worker_processes {workers}; pid {directory}/nginx.pid; error_log {directory}/nginx.err crit;
events {{ worker_connections 19000; }}
http {{
    log_format line escape=json '{{"ts":"$time_iso8601","method":"$request_method","path":"$uri",'
        '"source":"$source","status":$status,"duration_s":$request_time,"bytes_out":$bytes_sent,'
        '"request_id":"$request_id","attempts":"$upstream_addr $upstream_status $upstream_response_time"}}';
    access_log {directory}/access.log line buffer=64k flush=1s;
    client_body_temp_path {directory}/nginx-body; proxy_temp_path {directory}/nginx-proxy;
    fastcgi_temp_path {directory}/nginx-f; uwsgi_temp_path {directory}/nginx-u; scgi_temp_path {directory}/nginx-s;
    keepalive_timeout 600s; keepalive_requests 1000000000; tcp_nodelay on; server_tokens off;
    split_clients "${{http_x_user_id}}" $source {{ {split} }}
    upstream legacy {{
        server 127.0.0.1:{legacy};
        keepalive 512; keepalive_requests 1000000000; keepalive_timeout 60s;
    }}
    upstream target {{
        {target_servers}
        keepalive 512; keepalive_requests 1000000000; keepalive_timeout 60s;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096{reuseport};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Request-Id $request_id;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_connect_timeout {connect_ms:.0f}ms; proxy_send_timeout {attempt_ms:.0f}ms;
            proxy_read_timeout {attempt_ms:.0f}ms;
            {forwarding}
            proxy_buffers 16 16k; proxy_buffer_size 16k; proxy_busy_buffers_size 64k; proxy_max_temp_file_size 0;
            add_header X-Source $source always;
            {tls}
            {locations}
    }}
}}
"""
BACKUP = """server 127.0.0.1:{target} max_fails={failures} fail_timeout={rest_s:g}s;
        server 127.0.0.1:{legacy} backup;"""
NEXT = """proxy_next_upstream error timeout invalid_header http_403 http_404 http_429 http_500 http_502 http_503
                                http_504;
            proxy_next_upstream_tries 2;"""
PLAIN = "location / {{ proxy_pass {scheme}://$source; }}"
# A user of legacy must not be sent there twice, so each source has a location of its own.
PAGES = """location / {{ rewrite ^ /.$source last; }}
            location = /.legacy {{ internal; proxy_pass {scheme}://legacy$request_uri; }}
            location = /.target {{
                internal; proxy_pass {scheme}://target$request_uri;
                proxy_intercept_errors on; error_page 401 403 404 408 429 500 502 503 504 = @fallback;
            }}
            location @fallback {{ proxy_pass {scheme}://legacy$request_uri; }}"""
TLS = """proxy_ssl_verify on; proxy_ssl_trusted_certificate {certificate}; proxy_ssl_name localhost;
            proxy_ssl_server_name on; proxy_ssl_session_reuse on;"""


class Nginx(Contestant):
    """One worker process for each asked for."""

    name = "nginx"
    label = "nginx"
    description = (
        'One worker. `split_clients "${http_x_user_id}"`; two `upstream`s with 512 kept connections each; the '
        "target's has legacy as `backup`, `proxy_next_upstream` on errors, timeouts, 403, 404, 429, 500, 502, 503 "
        "and 504, `max_fails=5 fail_timeout=5s`. Buffered (16 buffers of 16 KiB, nothing on disk), but a response "
        "starts downstream at its head. JSON access log to a file, written by 64 KiB or each second."
    )

    target_servers, forwarding, locations = BACKUP, NEXT, PLAIN

    def missing(self) -> str | None:
        return None if program("nginx") else "apt-get install nginx-light"

    def version(self) -> str:
        return first_line(program("nginx") or "nginx", "-v").partition("/")[2]

    def prepare(self, setup: Setup) -> list[str]:
        legacy, target = setup.ports
        share = setup.percentage
        split = f"{share}% target; * legacy;" if share < 100 else "* target;"
        scheme = "https" if setup.tls else "http"
        servers = self.target_servers.format(target=target, legacy=legacy, failures=setup.failures, rest_s=setup.rest_s)
        text = CONFIG.format(
            user=nginx_user(),
            target_servers=servers,
            forwarding=self.forwarding,
            locations=self.locations.format(scheme=scheme),
            workers=setup.workers,
            reuseport=" reuseport" if setup.workers > 1 else "",
            directory=setup.directory,
            split=split,
            port=setup.port,
            legacy=legacy,
            connect_ms=setup.connect_timeout_s * 1000,
            attempt_ms=setup.attempt_timeout_s * 1000,
            tls=TLS.format(certificate=setup.certificate) if setup.tls else "",
        )
        return [program("nginx") or "nginx", "-c", str(setup.write("nginx.conf", text))]


class NginxErrorPage(Nginx):
    """The fallback by `error_page`, as most people write it: it remembers no failures."""

    name = "nginx-error-page"
    label = "nginx, error_page"
    description = (
        "As above, but each source is an `upstream` of its own, and the target's location sends 401, 403, 404, 408, "
        "429, 500, 502, 503, 504 and its own failures to legacy by `error_page`. nginx keeps no count of the failures "
        "of an upstream with one server, so an outage costs each request its timeout."
    )
    target_servers, forwarding, locations = "server 127.0.0.1:{target};", "proxy_next_upstream off;", PAGES
