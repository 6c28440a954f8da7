"""Compiles the protos of libs/opsuite_platforms/traffic/xds to xds.binpb, or with --check says whether it is fresh."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "libs" / "opsuite_platforms" / "traffic" / "xds"
COMMITTED = FOLDER / "xds.binpb"


def compiled() -> bytes:
    """The FileDescriptorSet of every proto of the folder and of what they import."""
    sources = sorted(path.name for path in FOLDER.glob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / COMMITTED.name
        command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--include_imports"]
        subprocess.run([*command, f"--descriptor_set_out={target}", *sources], cwd=FOLDER, check=True)
        return target.read_bytes()


def main() -> None:
    """Rewrite the descriptors, or with --check exit 1 when they are stale."""
    if "--check" not in sys.argv:
        COMMITTED.write_bytes(compiled())
    elif COMMITTED.read_bytes() != compiled():
        sys.exit("xds.binpb is stale, run `python scripts/xds_descriptors.py`")


if __name__ == "__main__":
    main()
