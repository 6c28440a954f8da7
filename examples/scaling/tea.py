"""A tea room: `/` serves a cup, one at a time, 50 ms each, so that one replica serves twenty in a second.

python3 tea.py --port 8080
"""

from __future__ import annotations

import argparse
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BREWING_SECONDS = 0.05
LAST_GUESTS_SECONDS = 1.0
"""How long those are still let in who stood at the door when it was to close."""

kettle = threading.Lock()


class Pages(BaseHTTPRequestHandler):
    """Each request on a connection of its own, so that nobody waits on one that is about to be closed."""

    def do_GET(self) -> None:
        if self.path != "/health":
            with kettle:
                time.sleep(BREWING_SECONDS)
        data = b"tea\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is http.server's
        """Nothing: a line for each request is more than anybody reads."""


class Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    serving = Server(("127.0.0.1", parser.parse_args().port), Pages)
    # shutdown() waits for the loop that a signal handler interrupts, so it needs a thread of its own.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=serving.shutdown).start())
    print(f"tea on port {serving.server_port}", flush=True)
    serving.serve_forever(poll_interval=0.05)
    serving.timeout = 0.05
    closes_at = time.monotonic() + LAST_GUESTS_SECONDS
    while time.monotonic() < closes_at:
        serving.handle_request()
    serving.server_close()  # waits for those who are being served


if __name__ == "__main__":
    main()
