"""A small web application: `/` greets, `/version` tells the version, `/health` whether it can do its work.

python3 hello_web.py --port 8080
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import release


class Application:
    """What the pages say."""

    def __init__(self, version: str = release.VERSION, greeting: str | Path = release.GREETING) -> None:
        self.version = version
        self._greeting = greeting

    def greeting(self) -> str:
        """The text of the front page; a greeting that is a path stands in that file. Raises OSError."""
        return self._greeting.read_text().strip() if isinstance(self._greeting, Path) else self._greeting

    def answer(self, path: str) -> tuple[HTTPStatus, str]:
        """Status and body of a page."""
        if path == "/":
            return self._front()
        if path == "/version":
            return HTTPStatus.OK, f"{self.version}\n"
        if path == "/health":
            return self._health()
        return HTTPStatus.NOT_FOUND, "no such page\n"

    def _front(self) -> tuple[HTTPStatus, str]:
        try:
            return HTTPStatus.OK, f"{self.greeting()} This is version {self.version}.\n"
        except OSError:
            return HTTPStatus.INTERNAL_SERVER_ERROR, "nobody knows how to greet\n"

    def _health(self) -> tuple[HTTPStatus, str]:
        try:
            self.greeting()
        except OSError as error:
            return HTTPStatus.SERVICE_UNAVAILABLE, json.dumps({"healthy": False, "why": str(error)}) + "\n"
        return HTTPStatus.OK, json.dumps({"healthy": True, "version": self.version}) + "\n"


def server(application: Application, port: int) -> ThreadingHTTPServer:
    """A server on loopback; port 0 is any free one."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = application.answer(self.path)
            data = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is http.server's
            print(f"{self.address_string()} {format % args}", flush=True)

    return ThreadingHTTPServer(("127.0.0.1", port), Pages)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    serving = server(Application(), parser.parse_args().port)
    # shutdown() waits for the loop that a signal handler interrupts, so it needs a thread of its own.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=serving.shutdown).start())
    print(f"hello-web {release.VERSION} on port {serving.server_port}", flush=True)
    serving.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
