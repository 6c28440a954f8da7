"""Copies the foreign protos our contracts import (google/api, google/rpc) from the wheel that ships them.

They land in an ignored folder: `protoc` and `buf` find them without a registry, and nothing foreign is committed.
"""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import files
from pathlib import Path

WANTED = ("google/api/annotations.proto", "google/api/http.proto", "google/rpc/status.proto")


def main(target: Path) -> None:
    """Replace `target` with the wanted files. Raises SystemExit when the wheel no longer ships one of them."""
    shipped = {str(file): file.locate() for file in files("googleapis-common-protos") or []}
    if missing := [name for name in WANTED if name not in shipped]:
        sys.exit(f"googleapis-common-protos ships no {', '.join(missing)}")
    shutil.rmtree(target, ignore_errors=True)
    for name in WANTED:
        destination = target / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(shipped[name]), destination)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
