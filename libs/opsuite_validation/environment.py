"""Variables of the environment that make an allowed program start another one: arguments by another door."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from opsuite_kernel.errors import Violation

_REFUSED: Final = re.compile(
    r"LD_.*|DYLD_.*|GCONV_PATH|PATH|IFS|ENV|BASH_.*|SHELL|SHELLOPTS|PS4|PROMPT_COMMAND"  # loader and shells
    r"|EDITOR|VISUAL|PAGER|BROWSER|(?:\w+_)?ASKPASS|LESSOPEN|LESSCLOSE|MANPAGER"  # programs that programs start
    r"|PYTHON(?:STARTUP|HOME|INSPECT|BREAKPOINT|WARNINGS)|PERL5?(?:OPT|LIB|DB)|RUBY(?:OPT|LIB)|NODE_OPTIONS|NODE_PATH"
    r"|GIT_(?:SSH|CONFIG|EXTERNAL|PAGER|EDITOR|SEQUENCE|EXEC|PROXY|TEMPLATE|ALLOW|DIR|COMMON).*"
    r"|(?:GNU)?MAKEFLAGS|MAKEFILES|MFLAGS|GOFLAGS|GOTOOLCHAIN|TOOLEXEC|CARGO_.*|RUSTC.*|RUSTDOC.*|RUSTFLAGS|RUSTUP_.*"
    r"|(?:JAVA|_JAVA|JDK_JAVA|MAVEN|GRADLE)_?(?:TOOL_)?(?:OPTIONS|OPTS|ARGS|HOME)|npm_config_.*|NPM_CONFIG_.*|YARN_.*|PNPM_.*"
    r"|KUBECTL_.*|KUBE_EDITOR|KUBECONFIG|DOCKER_.*|BUILDX_.*|ANSIBLE_.*|TF_(?:CLI|PLUGIN|REATTACH).*|SYSTEMD_.*"
    r"|OPSUITE_.*|DEPLOYMENT_(?:ID|VERSION|ENVIRONMENT)",  # set by opsuite itself
    re.ASCII,
).fullmatch


def judge_environment(names: Iterable[str]) -> list[Violation]:
    """All declared variables that a step may not set; fields are `env["NAME"]`."""
    return [
        Violation(f'env["{name}"]', "can make a program start another one, or is set by opsuite itself", "ENV_REFUSED")
        for name in names
        if _REFUSED(name)
    ]
