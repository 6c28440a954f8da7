"""Rewrites protos/baseline.binpb, the image that `buf breaking` compares with; run when a release is made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Build an image of our own protos alone, with what they import."""
    buf = Path(sys.executable).parent / "buf"
    subprocess.run([buf, "build", "protos", "-o", "protos/baseline.binpb"], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
