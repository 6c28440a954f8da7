"""Docker and kubectl: what runs in a container is free, a way from it to the machine is not."""

from __future__ import annotations

from typing import Final

from opsuite_validation.arguments import Head, Tail, shape
from opsuite_validation.tools.reasons import CONFIG, EDITOR, ELSEWHERE, HOST, PROGRAM, because, each, options

_ENGINE: Final = Tail(
    {
        **because(
            HOST, "privileged volume mount volumes-from volume-driver device device-cgroup-rule pid ipc uts userns"
        ),
        **because(HOST, "cgroupns cgroup-parent cap-add security-opt runtime use-api-socket group-add sysctl gpus"),
        **because(HOST, "allow entitlement"),
        **because(ELSEWHERE, "host context config builder"),
    },
    patterns=(
        (
            shape(r"^(?:-+net(?:work)?=)?(?:name=)?(?:host|container:.*|ns:.*)\Z"),
            HOST,
        ),
    ),
)
_CONTAINER: Final = Tail(_ENGINE.refused, {"v": HOST}, valued_letters="acehlmpuw", patterns=_ENGINE.patterns)
_IMAGES: Final = each("build pull push tag ls list inspect rm prune history save load import", _ENGINE)
_CONTAINERS: Final = {
    **each("run create", _CONTAINER),
    **each(
        "start stop restart kill pause unpause rm rename wait logs ps ls inspect top stats port diff prune", _ENGINE
    ),
}
DOCKER: Final = Head(
    flags=options("-v --version -h --help -D --debug"),
    valued=options("-l --log-level"),
    words={
        **_CONTAINERS,
        **each("build pull push tag images rmi history save load version info login logout search", _ENGINE),
        "image": Head(words=_IMAGES),
        "container": Head(words=_CONTAINERS),
        "network": Head(words=each("create ls list rm inspect prune connect disconnect", _ENGINE)),
        "volume": Head(words=each("ls list rm inspect prune")),
        "buildx": Head(words=each("build ls du inspect version", _ENGINE)),
    },
    # Not there: compose, stack, service and swarm (their files and options mount the machine), exec (any container of
    # the machine, also one with rights), plugin, context, cp.
)
_KUBECTL_TAIL: Final = Tail(
    {
        **because(PROGRAM, "enable-exec enable-alpha-plugins enable-helm helm-command exec-command"),
        **because(CONFIG, "kubeconfig"),
        **because(ELSEWHERE, "server token"),
        "edit": EDITOR,
        "privileged": HOST,
        "overrides": HOST,
    },
    {"s": ELSEWHERE},
    valued_letters="nflokcLv",
    patterns=((shape(r"^edit-last-applied\Z"), EDITOR),),
)
KUBECTL: Final = Head(
    flags=options("-h --help --version"),
    valued=options("-n --namespace --context --cluster --user --request-timeout"),
    words={
        **each(
            "get apply create delete describe scale set label annotate logs wait diff patch expose top", _KUBECTL_TAIL
        ),
        **each("version cluster-info auth explain api-resources api-versions autoscale replace events", _KUBECTL_TAIL),
        **each("cordon uncordon drain taint kustomize rollout", _KUBECTL_TAIL),
        "config": Head(words=each("view current-context use-context get-contexts", _KUBECTL_TAIL)),
    },
    # Not there: exec, attach, debug and run (any program), cp, proxy, port-forward, edit; others are plug-ins on PATH.
)
