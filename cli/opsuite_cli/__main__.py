"""`python -m opsuite_cli` is the `opsuite` command."""

from __future__ import annotations

from opsuite_cli.main import app

if __name__ == "__main__":
    app(prog_name="opsuite")
