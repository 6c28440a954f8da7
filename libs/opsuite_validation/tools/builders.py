"""Builders and compilers: they run what the project brings, and nothing that an argument names."""

from __future__ import annotations

from typing import Final

from opsuite_validation.arguments import Head, Tail, assigns, shape
from opsuite_validation.tools.reasons import CODE, DEBUGGER, JVM, PROGRAM, REMOTE, because, each, options

_RECIPES: Final = (
    assigns(
        r"\A\s*(?:\.?SHELL(?:FLAGS)?|MAKE|MAKEFILES|(?:GNUMAKE|MAKE|M)FLAGS|MAKEOVERRIDES|AR|AS|CC|CXX|CPP|FC|F77|LD|LINT|M2C|PC"
        r"|CO|GET|LEX|YACC|MAKEINFO|TEX|TEXI2DVI|WEAVE|CWEAVE|TANGLE|CTANGLE|RM|INSTALL|STRIP|RANLIB|NM)[\s:+]*\Z"
    ),
    "sets a variable that names a program of the recipes",
)
MAKE: Final = Tail(
    {"eval": CODE},
    {"E": CODE},
    valued_letters="CfIjloWE",
    patterns=(_RECIPES,),
    abbreviates=True,
)
CMAKE: Final = Tail(
    {"eval": CODE, "open": "opens a program", "debugger": DEBUGGER, "debugger-pipe": DEBUGGER},
    {"E": "runs any program (cmake -E env)"},
    valued_letters="SBGTADUCPWfjt",
    patterns=(
        _RECIPES,
        (
            assigns(
                r"COMPILER|LAUNCH|PROGRAM|LINKER|EMULATOR|TIDY|CPPCHECK|CPPLINT|YOU_USE|EXECUTABLE|COMMAND|SHELL"
                r"|CMAKE_(?:AR|RANLIB|STRIP|NM|OBJCOPY|OBJDUMP|MT|RC|LD|ADDR2LINE|READELF|DLLTOOL)\b"
            ),
            "sets a variable that names a program of the build",
        ),
    ),
)
_JAVA_OPTIONS: Final = (shape(r"(?i)jvmargs|argLine|-XX:|javaagent|agentlib|agentpath|jvm=|java\.home|jdwp|Xrun"), JVM)
_JAVA_PROGRAMS: Final = (assigns(r"(?i)exec|script|command|ext\.class\.path"), PROGRAM)
GRADLE: Final = Tail({"debug-jvm": DEBUGGER}, patterns=(_JAVA_OPTIONS, _JAVA_PROGRAMS))
_CORE_PLUGINS: Final = (
    "clean|resources|compiler|surefire|failsafe|jar|war|ear|install|deploy|site|dependency|versions|help|enforcer|checkstyle"
    "|jacoco|javadoc|source|verifier|wrapper"
)
MVN: Final = Tail(
    patterns=(
        _JAVA_OPTIONS,
        _JAVA_PROGRAMS,
        (
            shape(rf"^(?![-:])(?!(?:{_CORE_PLUGINS}):[a-z-]+\Z)(?=[^=]*:)"),
            "runs a goal of a plugin that is not one of the core ones",
        ),
    ),
)
_GO_TAIL: Final = Tail(
    because(PROGRAM, "exec toolexec vettool fixtool"),
    patterns=((shape(r"extld|gccgoflags"), "names a linker or its options"),),
)
GO: Final = Head(
    flags=options("-h --help"),
    valued=options("-C"),
    words={
        **each("build test vet fmt install clean get list mod work generate version doc help", _GO_TAIL),
        "env": Tail(because("changes what later commands run", "w u")),
        "run": Tail(_GO_TAIL.refused, patterns=(*_GO_TAIL.patterns, (shape(r"^[^-].*@"), REMOTE))),
    },
    # Not there: tool, fix, bug, telemetry.
)
_LINKS: Final = (
    shape(r"(?i)linker(?:-flavor)?=|dlltool=|link-arg|link-self-contained|codegen-backend|wrapper=|runner="),
    "names a linker or another program",
)
RUSTC: Final = Tail(
    {},
    {"Z": "is for nightly builds and can load code"},
    valued_letters="CLlo",
    patterns=(_LINKS, (shape(r"^@"), "reads arguments from a file, where nobody judges them")),
)
_CARGO_TAIL: Final = Tail(
    {"config": "can set programs that cargo runs"},
    {"Z": "is for nightly builds and can change what cargo runs"},
    patterns=(_LINKS,),
)
_CARGO_PLAIN: Final = Head(
    flags=options("-v -vv -q --verbose --quiet -V --version -h --help --list --locked --offline --frozen"),
    valued=options("--color -C"),
    # Others are looked up as programs called cargo-NAME.
    words={
        **each("build b check c test t run r bench clippy fmt doc d clean update fetch tree metadata", _CARGO_TAIL),
        **each("package publish install add remove vendor generate-lockfile version search nextest", _CARGO_TAIL),
    },
)
CARGO: Final = Head(
    _CARGO_PLAIN.flags,
    _CARGO_PLAIN.valued,
    words={**_CARGO_PLAIN.words, **each("+stable +beta +nightly", _CARGO_PLAIN)},
)
