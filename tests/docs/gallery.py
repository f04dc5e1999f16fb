"""A gallery with nothing behind it, for the documents' commands: answers any image and any list, says who it is."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Gallery(BaseHTTPRequestHandler):
    """One source."""

    protocol_version = "HTTP/1.1"
    name = ""

    def do_GET(self):
        body = json.dumps({"id": self.path.rpartition("/")[2], "from": self.name}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the library's name for it

    def log_message(self, *_):
        pass


class Hosted:
    """Both sources, on free ports, until closed."""

    def __init__(self):
        self._servers = []
        self.ports = {}
        for name in ("postgresql", "image_service"):
            handler = type(name, (Gallery,), {"name": name})
            server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
            server.daemon_threads = True
            self.ports[name] = server.server_address[1]
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self._servers.append(server)

    def close(self):
        for server in self._servers:
            server.shutdown()
            server.server_close()
