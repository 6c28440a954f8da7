"""Entry point of the container: read settings, build, serve."""

from __future__ import annotations

import asyncio
import sys

from pydantic import ValidationError

from opsuite_gateway.composition import serve
from opsuite_gateway.settings import Settings
from opsuite_kernel.errors import OpsuiteError


def main() -> None:
    """Serve until told to stop. What keeps it from starting is said in a line each, and the exit status is 1."""
    try:
        asyncio.run(serve(Settings()))
    except ValidationError as error:
        for one in error.errors():
            name = "_".join(str(part) for part in one["loc"]).upper()
            print(f"gateway: setting {name}: {one['msg']}", file=sys.stderr)  # noqa: T201 - logs are not set up yet
        sys.exit(1)
    except OpsuiteError as error:
        sys.exit(f"gateway: {error.message}")


if __name__ == "__main__":
    main()
