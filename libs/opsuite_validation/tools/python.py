"""Python and pip. Options before a script are listed, since an unknown one could hide the code behind it."""

from __future__ import annotations

from typing import Final

from opsuite_validation.arguments import Head, Tail, shape
from opsuite_validation.tools.reasons import EDITOR, PROGRAM, each, options

PIP: Final = Head(
    flags=options("-v -vv -vvv -q -qq --verbose --quiet -V --version -h --help --isolated --no-input --no-color")
    | options("--require-virtualenv --no-cache-dir --disable-pip-version-check"),
    valued=options("--log --proxy --retries --timeout --cache-dir --cert --client-cert --trusted-host --exists-action"),
    # Not there: config (writes settings, opens an editor), debug.
    words=each(
        "install download uninstall freeze inspect list show check cache index wheel hash lock help",
        Tail({"python": PROGRAM, "editor": EDITOR}, abbreviates=True),
    ),
)

PYTHON: Final = Head(
    flags=options(
        "-b -B -d -E -h -I -O -P -q -s -S -u -v -V -x --version --help --help-all --help-env --help-xoptions"
    ),
    valued=options("-W -X --check-hash-based-pycs"),
    leading={"-m": {"pip": PIP, **each("unittest pytest build venv")}},
    others=shape(r"^(?!-\Z)"),
    why="is not among the options that may come before a script; code comes from files",
)
