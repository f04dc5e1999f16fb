"""A real Prometheus that scrapes a running sidecar under traffic of every kind, and a CloudWatch that is made up."""

import contextlib
import http.client
import http.server
import itertools
import json
import math
import re
import socket
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import yaml

from proxy.clocks import wall_clock
from tests.e2e.sidecar import Sidecar, config, eventually, write_config
from tests.e2e.upstream import Connection, Hosted, Seen, Upstream, behaviour, head_of

RULES = Path(__file__).parents[2] / "deploy" / "prometheus"
RATE_WINDOW = "6s"
LOOK_BACK_S = 20
METHODS = (("GET", "/images/1"), ("GET", "/images"), ("POST", "/images"), ("PUT", "/images/1"), ("DELETE", "/images/1"))

# One value of each series, as cloudwatch_exporter labels them.
CLOUDWATCH = {
    "aws_lambda": 'function_name="images-get"',
    "aws_dynamodb": 'table_name="images", operation="GetItem"',
    "aws_cloudfront": 'distribution_id="E1", region="Global"',
}


@behaviour
async def cached(_: Upstream, connection: Connection, seen: Seen, words: str) -> None:
    """An answer that went through a CDN."""
    await connection.send(head_of("200 OK", "Content-Length: 2", f"X-Cache: {words} from cloudfront") + b"ok")


@behaviour
async def cut_late(_: Upstream, connection: Connection, seen: Seen) -> None:
    """An answer too long to be held that is never completed."""
    await connection.send(head_of("200 OK", "Content-Length: 400000"))
    await connection.send_pattern(200_000, chunked=False)
    await connection.reset()


class Traffic:
    """Clients that go on until told to end; what goes wrong is asked for in the requests themselves."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._address = sidecar.address
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        host, _, port = self._address.rpartition(":")
        client = http.client.HTTPConnection(host, int(port), timeout=5)
        for number in itertools.count():
            if self._stop.wait(0.004):
                break
            fields = {"X-User-Id": f"user-{number % 97}", **faults(number)}
            # Ten seconds without and three with a target that fails, so that the breaker opens and closes.
            if number % 1000 > 750:
                fields["X-target-Does"] = "status:503"
            method, path = METHODS[number % len(METHODS)]
            try:
                client.request(method, path, body=b"abc" if method in {"POST", "PUT"} else None, headers=fields)
                client.getresponse().read()
            except (http.client.HTTPException, OSError):
                client.close()
        client.close()


def faults(number: int) -> dict[str, str]:
    """What the sources are to do to this request."""
    if number % 41 == 0:
        return {"X-target-Does": "cut-late"}
    if number % 43 == 0:
        return {"Host": "two words"}
    if number % 7 == 0:
        return {"X-target-Does": "status:503"}
    if number % 11 == 0:
        return {"X-target-Does": "status:404", "X-legacy-Does": "status:404"}
    if number % 13 == 0:
        return {"X-target-Does": "drip:1:0.15"}
    if number % 17 == 0:
        return {"X-legacy-Does": "status:500", "X-target-Does": "cached:Hit"}
    return {"X-target-Does": "cached:Hit" if number % 3 else "cached:Miss"}


class Exporter(http.server.BaseHTTPRequestHandler):
    """Says of every series that is fetched from CloudWatch that its value is 2."""

    def do_GET(self) -> None:
        body = "".join(f"{name}{{{labels_of(name)}}} 2\n" for name in sorted(cloudwatch_names())).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def labels_of(name: str) -> str:
    """The labels of one of these metrics."""
    return next(labels for prefix, labels in CLOUDWATCH.items() if name.startswith(prefix))


def cloudwatch_names() -> set[str]:
    """What cloudwatch_exporter exposes with our configuration."""
    metrics = yaml.safe_load((RULES / "cloudwatch_exporter.yml").read_text())["metrics"]
    return {exported_name(metric, statistic) for metric in metrics for statistic in metric["aws_statistics"]}


def exported_name(metric: dict[str, Any], statistic: str) -> str:
    """As cloudwatch_exporter names it."""
    snake = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", metric["aws_metric_name"]).lower()
    return f"{metric['aws_namespace'].lower().replace('/', '_')}_{snake}_{statistic.lower()}"


class Prometheus:
    """The server, and questions to it."""

    def __init__(self, directory: Path, targets: dict[str, str]) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self._port = sock.getsockname()[1]
        jobs = [{"job_name": name, "static_configs": [{"targets": [address]}]} for name, address in targets.items()]
        document = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES / "recording.yml"), str(RULES / "alerts.yml")],
            "scrape_configs": jobs,
        }
        file = directory / "prometheus.yml"
        file.write_text(yaml.safe_dump(document))
        self._log = (directory / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={file}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
                "--enable-feature=exemplar-storage",
                "--log.level=warn",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def ask(self, path: str, **parameters: object) -> Any:
        """The `data` of an answer of its API."""
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=5) as response:
            return json.load(response)["data"]

    def shows(self, expression: str) -> bool:
        """Whether a graph of the last seconds would have a point: a sample that is a number."""
        now = wall_clock()
        data = self.ask("query_range", query=expression, start=now - LOOK_BACK_S, end=now, step=1)
        return any(not math.isnan(float(value)) for series in data["result"] for _, value in series["values"])


@contextlib.contextmanager
def monitored(directory: Path) -> Iterator[tuple[Prometheus, Sidecar]]:
    """Run all of it."""
    with contextlib.ExitStack() as stack:
        hosted = Hosted()
        stack.callback(hosted.close)
        ports = {}
        for name in ("legacy", "target"):
            upstream = Upstream(name)
            ports[name] = hosted.call(upstream.listen(0))
            stack.callback(lambda upstream=upstream: hosted.call(upstream.stop()))
        settings = config(
            f"http://127.0.0.1:{ports['legacy']}",
            f"http://127.0.0.1:{ports['target']}",
            target={"circuit_breaker": {"enabled": True, "consecutive": 5, "open_for": "1500ms", "probes": 1}},
            rollout={"percentage": 50},
            fallback={"hedge_after": "50ms", "response_buffer": "64KiB"},
        )
        sidecar = Sidecar(write_config(directory / "cutover.yaml", settings))
        stack.callback(sidecar.stop)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exporter)
        stack.callback(server.server_close)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        targets = {"cutover": sidecar.admin, "cloudwatch": f"127.0.0.1:{server.server_port}"}
        prometheus = Prometheus(directory, targets)
        stack.callback(prometheus.stop)
        stack.enter_context(Traffic(sidecar))
        eventually(lambda: prometheus.shows("sum(rate(cutover_attempts_total[6s])) > 0"))
        yield prometheus, sidecar
