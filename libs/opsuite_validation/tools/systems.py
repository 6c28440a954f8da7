"""Version control, services of the machine, infrastructure."""

from __future__ import annotations

from typing import Final

from opsuite_validation.arguments import Head, Tail, assigns, shape
from opsuite_validation.tools.reasons import CONFIG, EDITOR, ELSEWHERE, PROGRAM, REMOTE, because, each, options

_TRANSPORT: Final = (shape(r"(?:^|[=\s])[A-Za-z0-9][A-Za-z0-9-]*::"), "asks for a transport helper, which is a program")
_SSH_OPTION: Final = (shape(r"://(?:[^/]*@)?-|^-o(?:Proxy|Local)"), "passes an option to ssh")
_GIT_NAMES: Final = {
    **because(PROGRAM, "upload-pack receive-pack exec ext-diff open-files-in-pager extcmd"),
    **because(EDITOR, "edit edit-description"),
    **because(CONFIG, "config config-env template separate-git-dir git-dir exec-path"),
}
_GIT_TAIL: Final = Tail(_GIT_NAMES, patterns=(_TRANSPORT, _SSH_OPTION), abbreviates=True)
_GIT_CLONE: Final = Tail(
    _GIT_NAMES,
    {"c": CONFIG, "u": PROGRAM},
    valued_letters="objuc",
    patterns=_GIT_TAIL.patterns,
    abbreviates=True,
)
GIT: Final = Head(
    # Not there: -c, --config-env, --exec-path, --git-dir, --paginate.
    flags=options("--no-pager -P -v --version -h --help --no-optional-locks --literal-pathspecs --no-replace-objects"),
    valued=options("-C"),
    words={
        "clone": _GIT_CLONE,
        **each(
            "fetch pull push checkout switch restore reset status log diff show tag branch add commit merge", _GIT_TAIL
        ),
        **each(
            "rev-parse describe archive clean ls-files ls-remote ls-tree worktree cherry-pick revert stash", _GIT_TAIL
        ),
        **each(
            "init remote rev-list cat-file fsck gc apply mv rm sparse-checkout merge-base show-ref version", _GIT_TAIL
        ),
        **each("for-each-ref shortlog blame name-rev symbolic-ref update-ref write-tree hash-object", _GIT_TAIL),
        "submodule": Head(
            flags=options("-q --quiet"),
            words=each("add init update status sync deinit summary set-branch", _GIT_TAIL),
        ),
    },
    # Not there: config, bisect, rebase, filter-branch, grep, difftool, mergetool, hook, daemon, send-email. Any other
    # word is an alias, which is a program.
)


_UNIT: Final = Tail(
    because(ELSEWHERE, "host machine root image"),
    {"H": ELSEWHERE, "M": ELSEWHERE},
    valued_letters="tpPsno",
    patterns=(
        (shape(r"/"), "names a file; units go by name"),
        (shape(r"debug-shell|getty@|nspawn@"), "opens a shell"),
        (
            shape(r"(?:poweroff|reboot|halt|kexec|rescue|emergency|exit|ctrl-alt-del)(?:\.target|\Z)"),
            "stops the machine",
        ),
    ),
    abbreviates=True,
)
SYSTEMCTL: Final = Head(
    flags=options("-h --help --version --user --system --no-pager -q --quiet --no-block --now --all -a --full -l"),
    words={
        **each("start stop restart reload try-restart reload-or-restart status show cat kill reset-failed", _UNIT),
        **each(
            "is-active is-enabled is-failed list-units list-unit-files list-timers enable disable daemon-reload", _UNIT
        ),
    },
    # Not there: edit, link, set-environment, import-environment, and what stops the machine.
)
# NAME is a file below /etc/init.d, so it may be nothing but a name.
SERVICE: Final = Tail(
    patterns=(
        (shape(r"/|^\.|^-(?!-status-all\Z|-version\Z|-help\Z)"), "is neither the name of a service nor an action"),
    ),
)
_TERRAFORM_TAIL: Final = Tail(
    {"plugin-dir": "loads programs from a directory", **because(REMOTE, "from-module")},
)
TERRAFORM: Final = Head(
    flags=options("-version --version -help --help -v -h"),
    valued=options("-chdir"),
    words={
        **each("init plan apply destroy validate fmt output show version providers get graph refresh", _TERRAFORM_TAIL),
        **each("import taint untaint force-unlock test state workspace", _TERRAFORM_TAIL),
    },
    # Not there: console, login, logout.
)
_PROBES: Final = frozenset(
    {"ping", "setup", "gather_facts", "wait_for_connection"}
    | {f"ansible.builtin.{name}" for name in ("ping", "setup", "gather_facts", "wait_for_connection")}
)
ANSIBLE: Final = Tail(
    {
        **because("can hold a program for the module to run", "args extra-vars module-path"),
        **because(PROGRAM, "become-method vault-password-file vault-pass-file vault-id become-password-file"),
        **because(PROGRAM, "become-pass-file connection-password-file conn-pass-file"),
        **because(PROGRAM, "ssh-common-args ssh-extra-args sftp-extra-args scp-extra-args"),
    },
    {**because("can hold a program for the module to run", "a e M"), "m": "must stand alone: -m NAME"},
    valued_letters="itfulcPBT",
    patterns=((assigns(r"ansible_"), PROGRAM),),
    abbreviates=True,
    # The module of an ad-hoc call is `command` unless another one is named.
    choices={"-m": _PROBES, "--module-name": _PROBES},
)
