"""JavaScript: runtimes, where options before a script are listed as for every interpreter, and package managers."""

from __future__ import annotations

from typing import Final

from opsuite_validation.arguments import Head, Tail, shape
from opsuite_validation.tools.reasons import CODE, CONFIG, DEBUGGER, EDITOR, PROGRAM, REMOTE, because, each, options

NODE: Final = Head(
    flags=options("-v --version -h --help --test --test-only --test-force-exit --experimental-test-coverage")
    | options("--enable-source-maps --no-warnings --trace-warnings --trace-deprecation --throw-deprecation")
    | options("--no-deprecation --preserve-symlinks --experimental-vm-modules --trace-uncaught --pending-deprecation"),
    valued=options("--max-old-space-size --unhandled-rejections --test-concurrency --test-timeout --stack-trace-limit"),
    others=shape(r"^(?!-\Z|inspect\Z|debug\Z|[A-Za-z][A-Za-z0-9+.-]*:)"),
    why="is not among the options that may come before a script; code comes from files",
)

_SCRIPT: Final = shape(r"^(?![A-Za-z][A-Za-z0-9+.-]*:).*\.[cm]?[jt]sx?\Z")
_LOADERS: Final = {
    **because(CODE, "eval print"),
    **because(DEBUGGER, "inspect inspect-brk inspect-wait inspect-publish-uid"),
    **because("loads code from anywhere, also out of the argument itself", "import preload require loader"),
    **because(PROGRAM, "shell script-shell"),
}
_INLINE: Final = (shape(r"(?i)(?:^|=)(?:data|blob):"), CODE)
_FETCHED: Final = (shape(r"(?i)(?:^|=)(?:https?|npm|jsr):"), REMOTE)

DENO: Final = Head(
    flags=options("-q --quiet -V --version -h --help"),
    valued=options("-L --log-level"),
    words={
        **each(
            "run test bench serve check compile lint fmt task coverage",
            Tail(_LOADERS, patterns=(_INLINE, _FETCHED)),
        ),
        **each(
            "add install ci remove outdated cache info doc types",
            Tail({**_LOADERS, "global": PROGRAM}, {"g": PROGRAM}),
        ),
    },
    others=_SCRIPT,
    # Not there: eval, repl, x, jupyter, lsp, create, init, upgrade.
    why="is not among what deno may be asked; code comes from files",
)

_BUN_TAIL: Final = Tail(_LOADERS, because(CODE, "e r"), patterns=(_INLINE,))
BUN: Final = Head(
    flags=options("-v --version --revision -h --help --silent --bun"),
    words={
        # `bun run NAME` falls back to any program on PATH, a shell among them.
        "run": Head(flags=options("--silent --bun --smol"), others=_SCRIPT, why="must be a script file of the project"),
        **each("test build install i ci add remove rm update outdated link unlink why", _BUN_TAIL),
    },
    others=_SCRIPT,
    # Not there: x, exec (a shell), repl, create, upgrade, init.
    why="is not among what bun may be asked; code comes from files",
)

# --- package managers: scripts of the project are fine, programs by name are not

_SETTINGS: Final = {
    **because(
        PROGRAM, "script-shell shell git viewer browser node-gyp python init-module init.module use-node-version"
    ),
    **because(EDITOR, "editor"),
    **because(CODE, "call onload-script"),
    **because(DEBUGGER, "inspect inspect-brk"),
    **because(CONFIG, "node-options userconfig globalconfig use-yarnrc config require pnpmfile global-pnpmfile"),
}
_DOTTED: Final = (shape(r"^-+config\."), CONFIG)
_JS_TAIL: Final = Tail(_SETTINGS, patterns=(_DOTTED,), abbreviates=True)
_NAMED_SCRIPT: Final = Head(
    flags=options("-s --silent --if-present -r --recursive -ws --workspaces --parallel"),
    valued=options("-w --workspace --filter"),
    # Some runners have built-in scripts of these names that run what follows.
    others=shape(r"^(?!(?:node|env|exec|dlx|npx|(?:ba|da|z|k|c|tc|fi)?sh|python3?|deno|bun)\Z)[A-Za-z0-9]"),
    # npm reads its own options behind the name, too.
    then=_JS_TAIL,
    why="is not the name of a script of the project",
)
_JS_WORDS: Final = {
    **each("install i ci add remove rm uninstall update up upgrade test t start stop pack publish audit", _JS_TAIL),
    **each("list ls outdated prune dedupe rebuild version view why", _JS_TAIL),
    "run": _NAMED_SCRIPT,
    "run-script": _NAMED_SCRIPT,
}
_JS_FLAGS: Final = options(
    "-v --version -h --help -s --silent --offline --prefer-offline --json --no-audit --no-fund"
) | (options("--ignore-scripts --frozen-lockfile --immutable --non-interactive -r --recursive --workspaces"))
# Not there: exec, x, dlx, node, create, init, edit, explore, config, set, plugin, shell.
NPM: Final = Head(_JS_FLAGS - {"-r"}, options("--prefix -C --workspace -w --loglevel --registry"), words=_JS_WORDS)
YARN: Final = Head(_JS_FLAGS - {"-r"}, options("--cwd"), words=_JS_WORDS)
# A word that pnpm does not know is a program on PATH, so the list holds only what it does know.
PNPM: Final = Head(_JS_FLAGS, options("--dir -C --filter -F"), words=_JS_WORDS)
