"""The tests that every version passes before it is started."""

from __future__ import annotations

import contextlib
import http.client
import tempfile
import threading
import unittest
from http import HTTPStatus
from pathlib import Path

from hello_web import Application, server


class Pages(unittest.TestCase):
    def test_the_front_page_greets_and_tells_the_version(self) -> None:
        status, body = Application("9.9.9", "Hello!").answer("/")

        assert (status, body) == (HTTPStatus.OK, "Hello! This is version 9.9.9.\n")

    def test_a_greeting_may_stand_in_a_file(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            greeting = Path(directory, "greeting.txt")
            greeting.write_text("Good day!\n")

            status, body = Application("9.9.9", greeting).answer("/")

        assert (status, body) == (HTTPStatus.OK, "Good day! This is version 9.9.9.\n")

    def test_it_is_unhealthy_without_its_greeting(self) -> None:
        status, _ = Application("9.9.9", Path("/nowhere/greeting.txt")).answer("/health")

        assert status == HTTPStatus.SERVICE_UNAVAILABLE

    def test_other_pages_do_not_exist(self) -> None:
        assert Application("9.9.9", "Hello!").answer("/else")[0] == HTTPStatus.NOT_FOUND


class Server(unittest.TestCase):
    def setUp(self) -> None:
        self.serving = server(Application("9.9.9", "Hello!"), 0)
        self.thread = threading.Thread(target=self.serving.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def tearDown(self) -> None:
        self.serving.shutdown()
        self.thread.join()
        self.serving.server_close()

    def get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.serving.server_port, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def test_it_answers_over_http(self) -> None:
        assert self.get("/version") == (HTTPStatus.OK, b"9.9.9\n")

    def test_a_page_that_does_not_exist_is_a_404(self) -> None:
        assert self.get("/else")[0] == HTTPStatus.NOT_FOUND


if __name__ == "__main__":
    unittest.main()
