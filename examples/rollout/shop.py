"""A small shop: `/` tells the price of tea, `/health` whether the process can answer at all.

python3 shop.py --port 8080
"""

from __future__ import annotations

import argparse
import signal
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import release


def answer(path: str) -> tuple[HTTPStatus, str]:
    """Status and body of a page."""
    if path == "/health":
        return HTTPStatus.OK, "fine\n"
    if path != "/":
        return HTTPStatus.NOT_FOUND, "no such page\n"
    try:
        return HTTPStatus.OK, f"tea costs {release.PRICES['tea']} (version {release.VERSION})\n"
    except KeyError as error:
        return HTTPStatus.SERVICE_UNAVAILABLE, f"no price of {error} (version {release.VERSION})\n"


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
    serving = Server(("127.0.0.1", parser.parse_args().port), Pages)
    # shutdown() waits for the loop that a signal handler interrupts, so it needs a thread of its own.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=serving.shutdown).start())
    print(f"shop {release.VERSION} on port {serving.server_port}", flush=True)
    serving.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
