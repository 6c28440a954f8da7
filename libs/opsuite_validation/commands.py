"""Which programs a step may start, and with which arguments. There is never a shell, so nothing here is quoted.

Asked twice. `judge` reads what is written: at registration, and again once templates are filled. `resolve_program` and
`judge_links` look at the disk, before the first step and before each start, because files and links may change.

What is refused is what would make the allow-list pointless: an option that names a program, code in an argument, a
mount of the machine. What a project's own files do (its Makefile, its tests, its scripts) is what it is deployed for.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_validation.arguments import FREE, Rules
from opsuite_validation.paths import is_below, is_really_below, real_path, resolve_below
from opsuite_validation.templates import opaque
from opsuite_validation.tools.table import TOOLS

ALLOWED_NAMES: Final = frozenset(TOOLS)
TRUSTED_DIRECTORIES: Final = tuple(
    Path(name) for name in ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
)

_FORBIDDEN: Final = re.compile(r"[;&|`$()<>\n\r*?\[\]{}!~'\"\\\0]").search
# One look at all arguments; only where it finds something is each looked at.
_SUSPICIOUS: Final = re.compile(r"[;&|`$()<>\n\r*?\[\]{}!~'\"\\\0/]|\.\.").search
# A place where a path may begin inside an argument: `--file=/x`, `-f/x`, `name:/x`, `a,/x`, `user@/x`.
_ABSOLUTE: Final = re.compile(r"(?:^(?:-[A-Za-z0-9]+)?|[=,:@+% ])(?P<path>/[^=,:@ ]*)").finditer
_CLIMBS: Final = re.compile(r"(?:^(?:-[A-Za-z0-9]+)?|[/=,:@+% ])\.\.(?:[/=,:@+% ]|\Z)").search
# Schemes are short; without a bound, a long argument would be read over and over.
_URL: Final = re.compile(r"(?:^|(?<=[=,@+ ]))(?![a-z0-9+.-]{0,16}(?:file|unix):)[a-z][a-z0-9+.-]{0,15}://[^/ ,][^ ,]*")
_FILE_URL: Final = re.compile(r"(?:^|(?<=[=,@+ ]))(?:file|unix):/+")
_HARMLESS: Final = frozenset({"/dev/null"})


@dataclass(frozen=True, slots=True)
class CommandPolicy:
    """What may be started. Adding a name without rules of its own allows it with any argument that passes the rest."""

    allowed_names: frozenset[str] = ALLOWED_NAMES
    trusted_directories: tuple[Path, ...] = TRUSTED_DIRECTORIES
    """Where programs are looked up, in this order; nobody's PATH is."""
    roots: tuple[Path, ...] = ()
    """Absolute directories that paths have to stay below; the first one is where relative paths start."""
    argument_rules: Mapping[str, Rules] = field(default_factory=lambda: TOOLS)


DEFAULT: Final = CommandPolicy()
"""The default allow-list, without any root: set those with `dataclasses.replace`."""


def judge(
    policy: CommandPolicy, command: str, args: Sequence[str], *, declared: Collection[str] = ()
) -> list[Violation]:
    """All that the policy has against an argument vector, as it is written; fields are `command` and `args[2]`.

    References `${name}` to a `declared` name count as a harmless word; what they become is judged once it is known.
    """
    found = [] if (why := _command_refusal(policy, command)) is None else [_not_allowed(why)]
    plain = [opaque(arg, declared) if "${" in arg else arg for arg in args]
    if _SUSPICIOUS("\t".join(plain)):
        found += _unsafe(policy.roots, plain)
    rules = policy.argument_rules.get(command.rpartition("/")[2], FREE)
    found += [_refused(index, why) for index, why in rules.refusals(plain)]
    return found


def resolve_program(policy: CommandPolicy, command: str) -> str:
    """The file that `command` stands for, links resolved. Raises InvalidInput (COMMAND_NOT_ALLOWED, COMMAND_NOT_FOUND).

    Only root can have put it there, or it is below a root, where it is what the project itself brought.
    """
    if why := _command_refusal(policy, command):
        raise InvalidInput([_not_allowed(why)])
    # Texts rather than paths: every step of every deployment comes here.
    places = (command,) if "/" in command else (f"{place}/{command}" for place in policy.trusted_directories)
    for place in places:
        if os.access(place, os.X_OK) and os.path.isfile(place):  # noqa: PTH113 - see above
            return _trustworthy(policy, real_path(place))
    looked = ", ".join(str(place) for place in policy.trusted_directories)
    where = "there is no such program" if "/" in command else f"is in none of {looked}"
    raise InvalidInput([Violation("command", f"{command}: {where}", "COMMAND_NOT_FOUND")])


def judge_links(policy: CommandPolicy, args: Sequence[str], directory: Path | str) -> list[Violation]:
    """Arguments that lead out of the roots through links, seen from `directory`; asked just before a start."""
    found = []
    for index, arg in enumerate(args):
        for path in _paths_in(arg):
            try:
                resolve_below(policy.roots, path, relative_to=directory)
            except InvalidInput as error:
                found.append(Violation(f"args[{index}]", error.violations[0].description, "OUTSIDE_ROOTS"))
                break
    return found


# --- the program -----------------------------------------------------------------------------------------------------


def _command_refusal(policy: CommandPolicy, command: str) -> str | None:
    directory, slash, name = command.rpartition("/")
    if name not in policy.allowed_names:
        return f"is not allowed; allowed are {', '.join(sorted(policy.allowed_names))}"
    if not slash:
        return None
    if not command.startswith("/"):
        return "must be a name or an absolute path"
    if posixpath.normpath(command) != command or Path(directory) not in policy.trusted_directories:
        trusted = ", ".join(str(place) for place in policy.trusted_directories)
        return f"is not in a trusted directory; these are {trusted}"
    return None


def _trustworthy(policy: CommandPolicy, program: str) -> str:
    if not _is_of_root(program) and not is_really_below(policy.roots, program):
        why = f"leads to {program}, which others than root can change"
        raise InvalidInput([_not_allowed(why)])
    return program


def _is_of_root(program: str) -> bool:
    """Whether only root can change what is in the file."""
    status = os.stat(program)  # noqa: PTH116 - as above
    others_write = status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and status.st_gid != 0)
    return status.st_uid == 0 and not others_write


# --- characters and paths in arguments -------------------------------------------------------------------------------


def _unsafe(roots: Sequence[Path], args: Sequence[str]) -> Iterator[Violation]:
    for index, arg in enumerate(args):
        if not _SUSPICIOUS(arg):
            continue
        if _FORBIDDEN(arg):
            yield _refused(index, "holds one of ; & | ` $ ( ) < > * ? [ ] { } ! ~ ' \" \\ or a line break or NUL")
        elif why := _leaves_roots(roots, arg):
            yield Violation(f"args[{index}]", why, "OUTSIDE_ROOTS")


def _leaves_roots(roots: Sequence[Path], arg: str) -> str | None:
    local = _local(arg)
    if ".." in local and _CLIMBS(local):
        return "climbs with .., which no argument may"
    for found in _ABSOLUTE(local):
        if found["path"] not in _HARMLESS and not is_below(roots, found["path"]):
            return "names a path that is not below the allowed directories"
    return None


def _paths_in(arg: str) -> Iterator[str]:
    """Every part of an argument that a tool could open as a file."""
    local = _local(arg)
    for part in {local, *re.split(r"[=,:@ ]", local), re.sub(r"^-+[A-Za-z0-9]", "", local)}:
        if part and part not in _HARMLESS and "\0" not in part:
            yield part


def _local(arg: str) -> str:
    """The argument without what names other machines; `file:` URLs as the paths they are."""
    return _FILE_URL.sub("/", _URL.sub("", arg)) if ":/" in arg else arg


def _not_allowed(why: str) -> Violation:
    return Violation("command", why, "COMMAND_NOT_ALLOWED")


def _refused(index: int, why: str) -> Violation:
    return Violation(f"args[{index}]", why, "ARGUMENT_REFUSED")
