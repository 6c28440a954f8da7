"""Whether the gateway of this container answers: exit status 0 or 1, for a health check."""

from __future__ import annotations

import ssl
import sys
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final

from opsuite_gateway.settings import Settings

SECONDS: Final = 4.0
EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - what may be listened on


def main() -> None:
    """Ask the first address that it listens on."""
    settings = Settings()
    host, _, port = settings.listen[0].rpartition(":")
    context = None
    if settings.tls_cert_file:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is this machine that is asked
    kind = HTTPConnection if context is None else partial(HTTPSConnection, context=context)
    try:
        connection = kind(EVERYWHERE.get(host, host).strip("[]"), int(port), timeout=SECONDS)
        connection.request("GET", "/health")
        sys.exit(0 if connection.getresponse().status == HTTPStatus.OK else 1)
    except (HTTPException, OSError):
        sys.exit(1)


if __name__ == "__main__":
    main()
