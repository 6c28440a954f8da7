"""Entry point of the container: read settings, build, serve."""

from __future__ import annotations

import sys

from pydantic import ValidationError

from opsuite_healer.composition.service import serve
from opsuite_healer.settings import Settings
from opsuite_kernel.errors import OpsuiteError
from opsuite_rpc.loop import run


def main() -> None:
    """Serve until told to stop. What keeps it from starting is said in a line each, and the exit status is 1."""
    try:
        run(serve(Settings()))
    except ValidationError as error:
        for one in error.errors():
            name = "_".join(str(part) for part in one["loc"]).upper()
            print(f"healer: setting {name}: {one['msg']}", file=sys.stderr)  # noqa: T201 - logs are not set up yet
        sys.exit(1)
    except OpsuiteError as error:
        sys.exit(f"healer: {error.message}")


if __name__ == "__main__":
    main()
