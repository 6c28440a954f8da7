"""The tools of the default allow-list: which of their arguments start a program of the caller's choice, and why.

Allowed is what runs the project's own files (`make`, `npm run build`, `cargo test`, `python -m pytest`, a script below
a root) and what the tool does itself. Refused is code in an argument, an option that names a program, a word that runs
any program it is given, a configuration that holds one, and, for containers, a way out to the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from opsuite_validation.arguments import Rules
from opsuite_validation.tools.builders import CARGO, CMAKE, GO, GRADLE, MAKE, MVN, RUSTC
from opsuite_validation.tools.containers import DOCKER, KUBECTL
from opsuite_validation.tools.javascript import BUN, DENO, NODE, NPM, PNPM, YARN
from opsuite_validation.tools.python import PIP, PYTHON
from opsuite_validation.tools.systems import ANSIBLE, GIT, SERVICE, SYSTEMCTL, TERRAFORM

TOOLS: Final[Mapping[str, Rules]] = MappingProxyType(
    {
        "python": PYTHON,
        "python3": PYTHON,
        "pip": PIP,
        "node": NODE,
        "deno": DENO,
        "bun": BUN,
        "npm": NPM,
        "yarn": YARN,
        "pnpm": PNPM,
        "make": MAKE,
        "cmake": CMAKE,
        "gradle": GRADLE,
        "mvn": MVN,
        "go": GO,
        "cargo": CARGO,
        "rustc": RUSTC,
        "docker": DOCKER,
        "kubectl": KUBECTL,
        "git": GIT,
        "systemctl": SYSTEMCTL,
        "service": SERVICE,
        "terraform": TERRAFORM,
        "ansible": ANSIBLE,
    }
)
"""Rules of every tool of the default allow-list."""
