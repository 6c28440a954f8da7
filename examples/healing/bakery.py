"""A small bakery: `/` sells bread, `/health` says whether there is any.

python3 bakery.py --port 8080

It does not start while there is a file `no-flour` beside it: what a lost mount or a broken configuration looks like.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import release

NO_FLOUR = Path(__file__).with_name("no-flour")
sold = itertools.count(1)


def answer(path: str) -> tuple[HTTPStatus, str]:
    """Status and body of a page."""
    if path == "/health":
        return release.health()
    if path != "/":
        return HTTPStatus.NOT_FOUND, "no such page\n"
    return release.sell(next(sold))


class Pages(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes

    def do_GET(self) -> None:
        status, body = answer(self.path)
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is http.server's
        """Nothing: a line for each request is more than anybody reads."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    port = parser.parse_args().port
    if NO_FLOUR.exists():
        sys.exit("there is no flour")
    serving = Server(("127.0.0.1", port), Pages)
    # shutdown() waits for the loop that a signal handler interrupts, so it needs a thread of its own.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=serving.shutdown).start())
    print(f"bakery {release.VERSION} on port {serving.server_port}", flush=True)
    serving.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
