"""Real components that tests talk to: how each is found, and how a missing one is told."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def missing(component: str, how_to_get_it: str) -> NoReturn:
    """Skip loudly on a user's machine; fail where everything has to be there (CI=true)."""
    message = f"NOT TESTED HERE: {component} is missing ({how_to_get_it})"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def program(name: str, how_to_get_it: str) -> Path:
    """The program of that name on PATH, or in the folder of foreign tools that `tools/` builds."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "opsuite" / "tools"
    found = shutil.which(name, path=os.pathsep.join([str(cache), os.environ.get("PATH", "")]))
    return Path(found) if found else missing(name, how_to_get_it)
