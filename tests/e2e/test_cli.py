"""The command line against a real deployer, through pipes: what scripts and pipelines of others rely on."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version as version_of
from pathlib import Path

import pytest
import yaml
from deployer import DeployerProcess
from opsuite_command import Ended, a_script, opsuite, started, write_pipeline
from readme import ROOT

FAILS_AS_BAD = """\
import sys
print("looking at", sys.argv[1])
if sys.argv[1] == "bad":
    print("this version is broken")
    sys.exit(7)
"""


@pytest.fixture(scope="module")
def pipelines(deployer: DeployerProcess, tmp_path_factory: pytest.TempPathFactory) -> DeployerProcess:
    """The deployer with the pipelines of these tests."""
    directory = tmp_path_factory.mktemp("pipelines")
    look = {"name": "look", "steps": [a_script(deployer, "look", FAILS_AS_BAD)]}
    gate = {
        "name": "ready",
        "on_failure": "pause",
        "checks": [{"name": "port", "tcp": {"address": "127.0.0.1:1"}, "failure_threshold": 1}],
    }
    wait = {"name": "wait", "steps": [{"name": "long", "wait": {"duration": "60s"}}]}
    short = {"name": "wait", "steps": [{"name": "short", "wait": {"duration": "3s"}}]}
    for document in (
        write_pipeline(directory, "plain", look),
        write_pipeline(directory, "gated", look | {"gates": [gate]}),
        write_pipeline(directory, "slow", wait),
        write_pipeline(directory, "patient", short, look),
    ):
        applied = opsuite(deployer, "apply", "-f", str(document))
        assert applied.status == 0, applied.err
    return deployer


def deploy(deployer: DeployerProcess, pipeline: str, version: str, *more: str) -> Ended:
    return opsuite(deployer, "deploy", pipeline, version, "--env", "staging", *more)


def uid_of(ended: Ended) -> str:
    found = re.search(r"deployment (\w{20,})", ended.out)
    assert found is not None, ended
    return found[1]


@pytest.fixture
def long_one(pipelines: DeployerProcess) -> Iterator[str]:
    """Id of a deployment that runs for a minute; cancelled at the end if the test has not done so."""
    uid = uid_of(deploy(pipelines, "slow", "1"))
    yield uid
    opsuite(pipelines, "cancel", uid)


@pytest.mark.parametrize("command", [["deploy"], ["rollout", "status"], ["edge", "run"], ["up"]])
def test_help_is_given_without_loading_what_calls_need(command: list[str]) -> None:
    program = (
        "import sys\n"
        "from opsuite_cli.main import app\n"
        f"app({[*command, '--help']}, standalone_mode=False)\n"
        "heavy = ('grpc', 'google.protobuf', 'yaml', 'sqlalchemy', 'asyncio')\n"
        "sys.exit(' '.join(name for name in heavy if name in sys.modules) or 0)\n"
    )

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
    assert "Usage:" in ended.stdout


def test_the_command_itself_ends_with_the_exit_status(pipelines: DeployerProcess) -> None:
    deploy(pipelines, "plain", "good", "--wait")

    with started(pipelines, "deploy", "plain", "bad", "--env", "staging", "--wait") as deploying:
        out, _ = deploying.communicate(timeout=60)

    assert deploying.returncode == 3, out
    assert out.splitlines()[-3].startswith("failed: step look of stage look")


def test_success_is_exit_status_0_and_one_line_for_each_event(pipelines: DeployerProcess) -> None:
    ended = deploy(pipelines, "plain", "1.0.0", "--wait", "--reason", "a release")

    assert ended.status == 0, ended
    assert re.search(r"step +look/look SUCCEEDED +\d", ended.out)
    assert ended.out.splitlines()[-1].startswith("plain 1.0.0 → staging SUCCEEDED in ")
    assert "\x1b" not in ended.out


def test_a_failure_that_was_rolled_back_is_exit_status_3_and_ends_with_three_lines(pipelines: DeployerProcess) -> None:
    deploy(pipelines, "plain", "good", "--wait")

    ended = deploy(pipelines, "plain", "bad", "--wait")

    uid = uid_of(ended)
    assert ended.status == 3, ended
    assert ended.err.splitlines()[-4:-2] == [
        "  | this version is broken",
        "failed: step look of stage look: exited with status 7",
    ]
    assert re.fullmatch(r"done:   the version before is back, by deployment \w+", ended.err.splitlines()[-2])
    assert ended.err.splitlines()[-1] == f"next:   opsuite logs {uid} --stage look --step look"
    assert "rollback" in ended.out
    assert "ROLLED_BACK" in ended.out

    explained = opsuite(pipelines, "explain", uid)
    assert explained.out.splitlines()[-3:] == ended.err.splitlines()[-3:]

    logs = opsuite(pipelines, "logs", uid, "--stage", "look", "--step", "look")
    assert logs.out.splitlines() == ["look/look | looking at bad", "look/look | this version is broken"]


def test_a_failure_with_nothing_to_go_back_to_is_exit_status_4(pipelines: DeployerProcess, tmp_path: Path) -> None:
    look = {"name": "look", "steps": [a_script(pipelines, "look", FAILS_AS_BAD)]}
    opsuite(pipelines, "apply", "-f", str(write_pipeline(tmp_path, "first", look)))

    ended = deploy(pipelines, "first", "bad", "--wait")

    assert ended.status == 4, ended
    assert "done:   not rolled back: no successful deployment came before it here" in ended.err


def test_a_pause_ends_the_wait_with_exit_status_5(pipelines: DeployerProcess) -> None:
    ended = deploy(pipelines, "gated", "1", "--wait")

    uid = uid_of(ended)
    assert ended.status == 5, ended
    assert ended.err.splitlines()[-1] == f"next:   opsuite resume {uid} (or: opsuite rollback {uid})"
    assert opsuite(pipelines, "cancel", uid).status == 0


def test_a_cancelled_deployment_ends_a_watch_with_exit_status_6(pipelines: DeployerProcess, long_one: str) -> None:
    with started(pipelines, "watch", long_one) as watching:
        assert watching.stdout is not None
        assert "RUNNING" in watching.stdout.readline()
        assert opsuite(pipelines, "cancel", long_one, "--reason", "not today").status == 0

        out, _ = watching.communicate(timeout=30)

    assert watching.returncode == 6, out
    assert out.splitlines()[-1] == f"next:   opsuite retry {long_one}"


def test_a_wait_that_takes_too_long_leaves_the_deployment_running(pipelines: DeployerProcess) -> None:
    ended = deploy(pipelines, "slow", "2", "--wait", "--timeout", "0.2s")

    uid = uid_of(ended)
    assert ended.status == 4
    assert ended.err == f"error: it has not ended yet, and goes on: opsuite watch {uid}\n"
    assert json.loads(opsuite(pipelines, "explain", uid, "--json").out)["status"] == "DEPLOYMENT_STATUS_RUNNING"
    opsuite(pipelines, "cancel", uid)


def test_a_watch_lives_through_a_crash_of_the_deployer(pipelines: DeployerProcess) -> None:
    uid = uid_of(deploy(pipelines, "patient", "1"))
    with started(pipelines, "watch", uid) as watching:
        assert watching.stdout is not None
        watching.stdout.readline()
        pipelines.kill()
        pipelines.start()

        out, _ = watching.communicate(timeout=60)

    assert watching.returncode == 0, out
    assert "taken over" in out
    assert out.count("step   look/look SUCCEEDED") == 1


def test_ctrl_c_leaves_a_watch_and_not_the_deployment(pipelines: DeployerProcess, long_one: str) -> None:
    with started(pipelines, "watch", long_one) as watching:
        assert watching.stdout is not None
        watching.stdout.readline()
        watching.send_signal(signal.SIGINT)

        out, _ = watching.communicate(timeout=30)

    assert watching.returncode == 130, out
    assert f"the deployment goes on: opsuite watch {long_one}" in out


def test_programs_get_one_document(pipelines: DeployerProcess) -> None:
    ended = deploy(pipelines, "plain", "3", "--wait", "--json")

    assert ended.status == 0
    assert json.loads(ended.out)["status"] == "DEPLOYMENT_STATUS_SUCCEEDED"


def test_history_is_filtered_and_limited(pipelines: DeployerProcess) -> None:
    for version in ("10", "11", "12"):
        deploy(pipelines, "plain", version, "--wait")

    two = opsuite(pipelines, "history", "--pipeline", "plain", "--env", "staging", "--limit", "2", "--json")
    failed = opsuite(pipelines, "history", "--status", "cancelled", "--pipeline", "plain")

    assert [one["version"] for one in json.loads(two.out)] == ["12", "11"]
    assert failed.out.splitlines() == ["DEPLOYMENT  PIPELINE  ENVIRONMENT  VERSION  STATUS  STARTED  TOOK  NOTE"]


def test_the_trace_is_a_tree_with_the_steps_below_their_stage(pipelines: DeployerProcess) -> None:
    uid = uid_of(deploy(pipelines, "plain", "traced", "--wait"))

    lines = opsuite(pipelines, "trace", uid).out.splitlines()

    stage = next(index for index, line in enumerate(lines) if "stage look" in line)
    assert "step look" in lines[stage + 1]
    assert lines[stage + 1].index("step") > lines[stage].index("stage")


def test_a_pause_by_hand_is_resumed(pipelines: DeployerProcess, long_one: str) -> None:
    assert opsuite(pipelines, "pause", long_one).status == 0
    assert opsuite(pipelines, "resume", long_one).status == 0
    again = opsuite(pipelines, "resume", long_one)

    assert again.status == 1
    assert "not PAUSED" in again.err


def test_a_rollback_and_a_retry_are_new_deployments(pipelines: DeployerProcess) -> None:
    deploy(pipelines, "plain", "20", "--wait")
    later = uid_of(deploy(pipelines, "plain", "21", "--wait"))
    failed = uid_of(deploy(pipelines, "plain", "bad", "--wait"))

    back = json.loads(opsuite(pipelines, "rollback", later, "--json").out)
    again = json.loads(opsuite(pipelines, "retry", failed, "--json").out)

    assert (back["version"], back["rollback_of"].rpartition("/")[2]) == ("20", later)
    assert again["retry_of"].rpartition("/")[2] == failed
    assert opsuite(pipelines, "watch", again["uid"]).status == 3


def test_a_plan_says_what_would_be_done_and_whether_it_could_start(pipelines: DeployerProcess, tmp_path: Path) -> None:
    good = opsuite(pipelines, "plan", "plain", "1", "--env", "staging")
    missing = {"name": "build", "steps": [{"name": "b", "command": {"command": "bun", "args": ["install"]}}]}
    opsuite(pipelines, "apply", "-f", str(write_pipeline(tmp_path, "needy", missing)))

    bad = opsuite(pipelines, "plan", "needy", "1", "--env", "staging")

    assert good.status == 0, good
    assert "look.py 1" in good.out
    assert bad.status == 1
    assert "FAILED" in bad.out


@pytest.mark.parametrize(
    ("policy", "status", "told"),
    [
        ("reject", 1, "error: it would be refused: {} is under way there"),
        ("cancel_running", 0, "would cancel {} and wait for its end"),
    ],
)
def test_a_plan_says_what_becomes_of_those_that_are_there(
    pipelines: DeployerProcess, tmp_path: Path, policy: str, status: int, told: str
) -> None:
    name, wait = policy.replace("_", "-"), {"name": "wait", "steps": [{"name": "long", "wait": {"duration": "60s"}}]}
    opsuite(pipelines, "apply", "-f", str(write_pipeline(tmp_path, name, wait, concurrency=policy)))
    running = uid_of(deploy(pipelines, name, "1"))

    planned = opsuite(pipelines, "plan", name, "2", "--env", "staging")
    opsuite(pipelines, "cancel", running)

    assert planned.status == status
    holder = running if status == 0 else f"pipelines/{name}/environments/staging/deployments/{running}"
    assert told.format(holder) in planned.out + planned.err


def test_what_a_step_writes_cannot_touch_the_terminal(pipelines: DeployerProcess, tmp_path: Path) -> None:
    nasty = {"name": "look", "steps": [a_script(pipelines, "nasty", 'print("\\x1b]0;owned\\x07\\x1b[2J gone\\tfine")')]}
    opsuite(pipelines, "apply", "-f", str(write_pipeline(tmp_path, "nasty", nasty)))

    ended = deploy(pipelines, "nasty", "1", "--follow")

    assert "gone\tfine" in ended.out
    assert "\x1b" not in ended.out


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_what_the_server_refuses_is_told_by_its_path_in_the_document(
    pipelines: DeployerProcess, tmp_path: Path
) -> None:
    step = {"name": "shell", "command": {"command": "rm", "args": ["x; y"]}}
    document = write_pipeline(tmp_path, "evil", {"name": "work", "steps": [step]})

    for ended in (
        opsuite(pipelines, "pipeline", "register", str(document)),
        opsuite(pipelines, "pipeline", "validate", str(document)),
    ):
        assert ended.status == 1
        assert "  spec.stages[0].steps[0].command.command: is not allowed" in ended.err
        assert "  spec.stages[0].steps[0].command.args[0]: holds one of" in ended.err


def test_what_is_wrong_in_itself_is_told_without_a_server(tmp_path: Path, pipelines: DeployerProcess) -> None:
    document = write_pipeline(tmp_path, "odd", {"name": "work", "stepz": []})

    ended = opsuite(pipelines, "apply", "-f", str(document), "--address", "127.0.0.1:1")

    assert ended.status == 1
    assert ended.err == "error: spec.stages[0].stepz: is no field here; did you mean steps?\n"


def test_an_unknown_environment_is_refused_with_those_there_are(pipelines: DeployerProcess) -> None:
    ended = opsuite(pipelines, "deploy", "plain", "1", "--env", "moon")

    assert ended.status == 1
    assert ended.err == "error: environment: moon is not one of: staging\n"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["deploy", "nothing", "1", "--env", "staging"], 1, "hint: see which there are: opsuite pipeline list"),
        (["explain", "01aaaaaaaaaaaaaaaaaaaaaaaa"], 1, "hint: see which there are: opsuite history"),
        (["explain", "a-b"], 1, "does not exist"),
        (["history", "--address", "127.0.0.1:1"], 1, "hint: start the suite with: opsuite up"),
        (["history", "--address", "example.com:1"], 1, "needs TLS"),
        (["history", "--token-file", "/nowhere/token"], 1, "/nowhere/token"),
        (["deploy", "plain", "1"], 2, "--env"),
        (["deploy", "plain", "1", "--env", "staging", "--var", "x"], 2, "NAME=VALUE"),
        (["deploy", "plain", "1", "--env", "staging", "--var", "level=3"], 1, 'variables["level"]'),
        (["deploy", "plain", "1", "--env", "staging", "--timeout", "soon"], 2, "duration"),
        (["deplyo"], 2, "Did you mean"),
    ],
)
def test_what_cannot_be_done_says_why(
    pipelines: DeployerProcess, arguments: list[str], status: int, words: str
) -> None:
    ended = opsuite(pipelines, *arguments)

    assert ended.status == status, ended
    assert words in ended.err


def test_a_wrong_token_is_refused(pipelines: DeployerProcess, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("wrong")

    ended = opsuite(pipelines, "history", "--token-file", str(token))

    assert ended.status == 1
    assert "hint: give the token" in ended.err


def test_a_server_that_wants_a_client_certificate_is_told_from_one_that_is_not_there(
    start_deployer: Callable[..., DeployerProcess], tmp_path: Path
) -> None:
    maker = str(ROOT / "scripts" / "dev_certs.py")
    subprocess.run([sys.executable, maker, tmp_path, "--database", tmp_path, "--host", "localhost"], check=True)
    guarded = start_deployer(
        DEPLOYER_TLS_CERT_FILE=str(tmp_path / "deployer.pem"),
        DEPLOYER_TLS_KEY_FILE=str(tmp_path / "deployer.key"),
        DEPLOYER_TLS_CLIENT_CA_FILE=str(tmp_path / "ca.pem"),
    )

    with started(guarded, "history", OPSUITE_CA_FILE=str(tmp_path / "ca.pem")) as asking:
        out, _ = asking.communicate(timeout=60)

    assert asking.returncode == 1
    assert out.startswith(f"error: the server at {guarded.address} hangs up")
    assert "OPSUITE_CERT_FILE" in out
    assert len(out.splitlines()) == 2


def test_answers_come_as_yaml_too(pipelines: DeployerProcess) -> None:
    assert yaml.safe_load(opsuite(pipelines, "pipeline", "list", "-o", "yaml").out)[0]["revision"] == "1"


# ---- the rest -------------------------------------------------------------------------------------------------------


def test_a_pipeline_that_is_printed_can_be_applied_again(pipelines: DeployerProcess, tmp_path: Path) -> None:
    printed = opsuite(pipelines, "pipeline", "get", "gated")
    document = tmp_path / "again.yaml"
    document.write_text(printed.out)

    assert "unchanged, revision 1" in opsuite(pipelines, "apply", "-f", str(document)).out


def test_a_deleted_pipeline_is_listed_no_more(pipelines: DeployerProcess, tmp_path: Path) -> None:
    look = {"name": "look", "steps": [a_script(pipelines, "look", FAILS_AS_BAD)]}
    opsuite(pipelines, "apply", "-f", str(write_pipeline(tmp_path, "passing", look)))
    assert "passing" in opsuite(pipelines, "pipeline", "list").out

    assert opsuite(pipelines, "pipeline", "delete", "passing").status == 0

    assert "passing" not in opsuite(pipelines, "pipeline", "list").out


def test_the_audit_log_is_listed_and_proved(pipelines: DeployerProcess) -> None:
    opsuite(pipelines, "deploy", "nothing", "1", "--env", "staging")
    refused = opsuite(pipelines, "audit", "list", "--filter", 'outcome = "NOT_FOUND"', "--json")
    whole = opsuite(pipelines, "audit", "verify")
    head = whole.out.splitlines()[1].removeprefix("head: ")

    assert json.loads(refused.out)[0]["action"].endswith("/Deploy")
    assert whole.status == 0, whole
    assert opsuite(pipelines, "audit", "verify", "--head", head).status == 0
    number, _, digest = head.partition(":")
    assert opsuite(pipelines, "audit", "verify", "--head", f"{int(number) + 1000}:{digest}").status == 1


def test_health_is_exit_status_0_only_while_it_serves(pipelines: DeployerProcess) -> None:
    assert opsuite(pipelines, "health").out == "SERVING\n"
    assert opsuite(pipelines, "health", "--address", pipelines.socket).status == 0
    assert opsuite(pipelines, "health", "--address", "127.0.0.1:1").status == 1


def test_the_doctor_finds_nothing_wrong_here_and_says_what_is_wrong_elsewhere(pipelines: DeployerProcess) -> None:
    well = opsuite(pipelines, "doctor")
    ill = opsuite(pipelines, "doctor", "--address", "127.0.0.1:1", "--json")

    assert well.status == 0, well
    assert "SERVING" in well.out
    assert re.search(rf"server's version +OK +{re.escape(version_of('opsuite'))}", well.out), well.out
    assert ill.status == 1
    assert [one["result"] for one in json.loads(ill.out) if one["subject"] == "server"] == ["FAILED"]


@pytest.mark.parametrize("mark", ["pyproject.toml", "package.json", "go.mod", "Makefile", "README"])
def test_a_pipeline_for_a_repository_can_be_registered_as_it_is_written(
    pipelines: DeployerProcess, tmp_path: Path, mark: str
) -> None:
    (tmp_path / mark).touch()

    written = opsuite(pipelines, "init", str(tmp_path))

    validated = opsuite(pipelines, "pipeline", "validate", str(tmp_path / "pipeline.yaml"))
    assert written.status == 0, written
    assert validated.status == 0, validated


def test_a_pipeline_that_is_there_is_replaced_only_by_force(pipelines: DeployerProcess, tmp_path: Path) -> None:
    document = tmp_path / "pipeline.yaml"
    document.write_text("mine")

    refused = opsuite(pipelines, "init", str(tmp_path))

    assert refused.status == 1
    assert "--force" in refused.err
    assert document.read_text() == "mine"
    assert opsuite(pipelines, "init", str(tmp_path), "--force").status == 0
    assert document.read_text() != "mine"
