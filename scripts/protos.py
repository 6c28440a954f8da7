"""Generates the stubs below libs/opsuite from protos/, or with --check says whether those committed are fresh."""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
FOREIGN = ROOT / ".foreign-protos"
COMMITTED = ROOT / "libs" / "opsuite"


def generate(target: Path) -> None:
    """Write the whole package `opsuite` below `target`."""
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    outputs = [f"--{kind}_out={target}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    # protoc looks for its plugins on PATH: they are installed beside this interpreter.
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"-I{FOREIGN}", *outputs, *sources],
        cwd=PROTOS,
        env=environment,
        check=True,
        stderr=subprocess.PIPE if os.environ.get("QUIET") else None,
    )
    # protoc makes no packages; without __init__ any folder named `opsuite` on sys.path would merge into this one.
    package = target / "opsuite"
    for folder in (package, *(path for path in package.rglob("*") if path.is_dir())):
        (folder / "__init__.py").touch()
    (package / "py.typed").touch()


def differences(fresh: Path, committed: Path) -> list[str]:
    """Paths, relative to the package, that are missing, left over or different."""
    names = {
        path.relative_to(folder)
        for folder in (fresh, committed)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return sorted(
        str(name)
        for name in names
        if not (fresh / name).is_file()
        or not (committed / name).is_file()
        or not filecmp.cmp(fresh / name, committed / name, shallow=False)
    )


def main() -> None:
    """Rewrite the stubs, or with --check exit 1 when they are stale."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = Path(folder) / "opsuite"
        if "--check" in sys.argv:
            if stale := differences(fresh, COMMITTED):
                sys.exit("stubs are stale, run `make protos`: " + ", ".join(stale))
            return
        shutil.rmtree(COMMITTED, ignore_errors=True)
        shutil.copytree(fresh, COMMITTED)


if __name__ == "__main__":
    main()
