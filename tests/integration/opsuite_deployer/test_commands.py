"""Command steps through a whole deployer: what they leave, what they see, what is kept of them, what is refused."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from deployer import Client, deploy, ended, python_directories, register
from fakes.pipelines import a_command, a_pipeline, a_script, a_stage
from fakes.warm_deployer import Nursery, WarmDeployer, a_nursery

from opsuite.deployer.v1 import deployment_pb2 as messages
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite.deployer.v1 import history_service_pb2, pipeline_service_pb2
from opsuite_kernel.errors import InvalidInput

MIB = 1024 * 1024
LOOK_AGAIN_SECONDS = 0.01
ORPHANS_LIVE_SECONDS = 2.0
SECRET = "correct-horse\nbattery staple"
OUTPUT_BYTES = 100_000
STATUS = messages.DeploymentStatus.Name
DAEMON = """
import os, signal, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
here = os.getcwd()
def note():
    with open(here + "/pids", "a") as file:
        file.write(f"{os.getpid()}\\n")
if os.fork() == 0:  # a child that does not listen
    note()
    time.sleep(3600)
if os.fork() == 0:  # a daemon: another session, no terminal, no parent, no open file of ours
    os.setsid()
    if os.fork():
        os._exit(0)
    os.closerange(0, 64)
    os.chdir("/")
    note()
    time.sleep(3600)
note()
while not os.path.exists("let-go"):
    time.sleep(0.01)
"""
FLOOD = """
import os
line = b"x" * 99 + b"\\n"
for _ in range(2000):
    os.write(1, line * 500)
"""
ENVIRONMENT = """
import json
raw = open("/proc/self/environ").read()
print(json.dumps(dict(part.split("=", 1) for part in raw.split("\\0") if part)))
"""
SHOW_SECRET = """
import os, sys
secret = os.environ["PASSWORD"]
open("length", "w").write(str(len(secret)))
print("it is", secret, "and again", secret, flush=True)
print(secret * 3, file=sys.stderr, flush=True)
sys.exit(3)
"""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with a_nursery() as nursery:
        yield nursery


@pytest.fixture(scope="module")
def deployer(nursery: Nursery) -> Iterator[WarmDeployer]:
    """One that may run the default list of commands; its own environment holds things that steps must not see."""
    directory = Path(tempfile.mkdtemp(prefix="opsuite-"))
    settings = {
        "DEPLOYER_START_PLATFORM": "false",
        "DEPLOYER_TRUSTED_DIRECTORIES": python_directories(),
        "DEPLOYER_COMMAND_GRACE": "0.2",
        "DEPLOYER_COMMAND_OUTPUT_BYTES": str(OUTPUT_BYTES),
        "DEPLOYER_SECRET_ENV": "DB_PASSWORD",
        "DB_PASSWORD": SECRET,
        "LD_PRELOAD_OF_OURS": "no",
        "PYTHONPATH_OF_OURS": "no",
    }
    deployer = WarmDeployer(directory / "data", settings, nursery=nursery)
    deployer.start()
    yield deployer
    deployer.kill()
    shutil.rmtree(directory)


@pytest.fixture
def script(deployer: WarmDeployer) -> Callable[[str, str], Path]:
    """Puts a program into a directory of its own below the work directory; returns where, seen from there."""

    def put(name: str, text: str) -> Path:
        place = deployer.work / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        (place / "main.py").write_text(text)
        return place

    return put


def run_in(place: Path, **fields: Any) -> dict[str, Any]:
    """A step that runs the program of a directory in that directory."""
    step = a_script("run", "main.py", **fields)
    step["command"] |= {"workingDir": place.name}
    return step


async def lines_of(client: Client, name: str) -> Sequence[messages.LogLine]:
    return (await client.deployments.ListLogs(pb.ListLogsRequest(name=name, page_size=5000))).lines


async def until(is_true: Callable[[], object]) -> None:
    """Wait for something that only shows itself to those who look."""
    while not is_true():  # noqa: ASYNC110 - files and processes set no event
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


def alive(pids: Sequence[str]) -> list[str]:
    """Those that have not ended."""
    return [pid for pid in pids if Path("/proc", pid, "exe").exists()]


# ---- what is left behind --------------------------------------------------------------------------------------------


async def family_of(place: Path) -> list[str]:
    """The program, its deaf child and its daemon, once all three are there."""
    pids = place / "pids"
    await until(lambda: pids.exists() and len(pids.read_text().split()) == 3)
    return pids.read_text().split()


@pytest.mark.parametrize("how", ["timeout", "cancel", "end"])
async def test_nothing_that_came_of_a_step_outlives_it(
    deployer: WarmDeployer, script: Callable[[str, str], Path], how: str
) -> None:
    place = script(f"family-{how}", DAEMON)
    timeout = {"timeout": "1.5s"} if how == "timeout" else {}
    async with deployer.client() as client:
        await register(client, a_pipeline(place.name, a_stage("work", run_in(place, **timeout))))
        name = (await deploy(client, place.name)).name
        family = await family_of(place)
        if how == "cancel":
            await client.deployments.CancelDeployment(pb.CancelDeploymentRequest(name=name))
        if how == "end":
            (place / "let-go").touch()
        deployment = await ended(client, name)
        lines = await lines_of(client, name)

    assert alive(family) == []
    expected = {"timeout": "FAILED", "cancel": "CANCELLED", "end": "SUCCEEDED"}
    assert STATUS(deployment.status) == f"DEPLOYMENT_STATUS_{expected[how]}"
    said = [line.text for line in lines if line.stream == messages.LOG_STREAM_SYSTEM]
    assert bool(said) == (how == "end"), "what a step leaves running is killed with a warning"


async def test_nothing_that_came_of_a_step_outlives_a_deployer_that_is_killed(
    nursery: Nursery, script: Callable[[str, str], Path], deployer: WarmDeployer
) -> None:
    place = script("family-kill", DAEMON)
    other = WarmDeployer(
        deployer.data_dir.parent / "killed",
        {**deployer.settings, "DEPLOYER_ROOTS": str(deployer.work)},
        nursery=nursery,
    )
    other.start()
    async with other.client() as client:
        await register(client, a_pipeline("family", a_stage("work", run_in(place))))
        await deploy(client, "family")
        family = await family_of(place)

        other.kill()
        with suppress(TimeoutError):
            async with asyncio.timeout(ORPHANS_LIVE_SECONDS):
                await until(lambda: not alive(family))

    assert alive(family) == []


# ---- what is kept of output -----------------------------------------------------------------------------------------


def peak_bytes(pid: int) -> int:
    """The most memory that a process has ever had resident; 0 for one that is dead and not yet buried."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def descendants(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*children, *(each for child in children for each in descendants(child))]


async def test_a_flood_of_output_is_cut_with_a_mark_and_costs_no_memory(
    deployer: WarmDeployer, script: Callable[[str, str], Path]
) -> None:
    place = script("flood", FLOOD)
    async with deployer.client() as client:
        await register(client, a_pipeline("flood", a_stage("work", run_in(place))))
        await ended(client, (await deploy(client, "flood", "0.9.0")).name)  # everything that is loaded late is there
        before = peak_bytes(deployer.pid)
        deployment = await ended(client, (await deploy(client, "flood")).name)
        lines = await lines_of(client, deployment.name)

    assert STATUS(deployment.status) == "DEPLOYMENT_STATUS_SUCCEEDED"
    assert peak_bytes(deployer.pid) - before < 8 * MIB  # it wrote 100 MB
    assert all(peak_bytes(pid) < 40 * MIB for pid in descendants(deployer.pid))
    *kept, mark = lines
    assert sum(len(line.text) + 1 for line in kept) <= OUTPUT_BYTES
    assert mark.stream == messages.LOG_STREAM_SYSTEM
    assert "99900000 bytes beyond the limit of 100000 were dropped" in mark.text


# ---- what a step sees -----------------------------------------------------------------------------------------------


async def test_a_step_sees_the_environment_that_was_declared_and_nothing_else(
    deployer: WarmDeployer, script: Callable[[str, str], Path]
) -> None:
    place = script("environment", ENVIRONMENT)
    step = run_in(place)
    step["command"] |= {"env": {"COLOUR": "${colour}"}}
    async with deployer.client() as client:
        await register(client, a_pipeline("environment", a_stage("work", step), variables={"colour": "blue"}))
        name = (await deploy(client, "environment", "1.2.3")).name
        await ended(client, name)
        lines = await lines_of(client, name)

    assert json.loads(lines[0].text) == {
        "PATH": python_directories().replace(",", ":"),
        "DEPLOYMENT_ID": name.rpartition("/")[2],
        "DEPLOYMENT_VERSION": "1.2.3",
        "DEPLOYMENT_ENVIRONMENT": "staging",
        "OPSUITE_EPOCH": "1",
        "COLOUR": "blue",
    }


async def test_a_secret_reaches_the_step_and_nothing_that_is_kept(
    deployer: WarmDeployer, script: Callable[[str, str], Path]
) -> None:
    place = script("secret", SHOW_SECRET)
    step = run_in(place)
    step["command"] |= {"secretEnv": {"PASSWORD": {"env": "DB_PASSWORD"}}}
    async with deployer.client() as client:
        await register(client, a_pipeline("secret", a_stage("work", step)))
        deployment = await ended(client, (await deploy(client, "secret")).name)
        lines = [line.text for line in await lines_of(client, deployment.name)]

    assert (place / "length").read_text() == str(len(SECRET))
    assert lines[:2] == ["it is ***", "*** and again ***"]
    assert deployment.failure.last_log_lines
    kept = [*deployer.data_dir.glob("deployer.db*"), deployer.log_file]
    for part in SECRET.splitlines():
        assert part not in "\n".join([*lines, *deployment.failure.last_log_lines])
        assert [file.name for file in kept if part.encode() in file.read_bytes()] == []


# ---- what is refused ------------------------------------------------------------------------------------------------

REFUSED = {
    "rm": ("rm", "-rf", "canary"),
    "rm by its path": ("/bin/rm", "canary"),
    "a shell by a climb": ("../../../bin/bash", "canary"),
    "a shell": ("bash", "-c", "true"),
    "a program in a foreign place": ("/home/mallory/kubectl", "get"),
    "a relative path": ("./git", "status"),
    "a second command": ("git", "-rf /; echo hacked"),
    "a substitution": ("git", "$(cat /etc/passwd)"),
    "a conjunction": ("git", "file.txt && rm -rf /"),
    "a pipe": ("git", "log | sh"),
    "a line break": ("git", "log\nrm"),
    "a climb": ("git", "add", "../../../etc/passwd"),
    "a path outside": ("git", "add", "/etc/shadow"),
    "code": ("python3", "-c", "open"),
    "a privileged container": ("docker", "run", "--privileged", "image"),
    "a mount of the machine": ("docker", "run", "-v", "/:/host", "image"),
    "a variable nobody declared": ("git", "${unknown}"),
}


async def rejections(client: Client) -> Sequence[history_service_pb2.AuditEvent]:
    request = history_service_pb2.ListAuditEventsRequest(page_size=1000, filter='action = "command.rejected"')
    return (await client.history.ListAuditEvents(request)).events


@pytest.mark.parametrize("what", REFUSED)
async def test_a_command_of_the_threat_list_is_refused_with_its_place_and_nothing_runs(
    deployer: WarmDeployer, what: str
) -> None:
    canary = deployer.work / "canary"
    canary.touch()
    command, *args = REFUSED[what]
    name = "threat-" + what.replace(" ", "-")
    pipeline = a_pipeline(
        name, a_stage("build", a_command("fine", "git", "--version"), a_command("bad", command, *args))
    )
    async with deployer.client() as client:
        rejected_before = len(await rejections(client))
        with pytest.raises(InvalidInput) as refused:
            await register(client, pipeline)
        rejected = await rejections(client)
        known = (await client.pipelines.ListPipelines(pipeline_service_pb2.ListPipelinesRequest())).pipelines

    fields = [violation.field for violation in refused.value.violations]
    assert all(field.startswith("pipeline.stages[0].steps[1].command") for field in fields), fields
    assert canary.exists()
    assert f"pipelines/{name}" not in [each.name for each in known]
    if what != "a variable nobody declared":  # a mistake, no threat
        assert len(rejected) == rejected_before + 1
        assert (rejected[0].resource, rejected[0].actor) == (f"pipelines/{name}", "local")


@pytest.mark.parametrize("where", ["working directory", "argument"])
async def test_a_link_out_of_the_roots_is_refused_before_anything_runs(deployer: WarmDeployer, where: str) -> None:
    link = deployer.work / "way-out"
    with suppress(FileExistsError):
        link.symlink_to("/etc")
    name = "link-" + where.replace(" ", "-")
    bad = (
        a_command("bad", "git", "status")
        if where == "working directory"
        else a_command("bad", "git", "add", "way-out/passwd")
    )
    if where == "working directory":
        bad["command"] |= {"workingDir": "way-out"}
    async with deployer.client() as client:
        await register(client, a_pipeline(name, a_stage("work", a_command("fine", "git", "--version"), bad)))
        deployment = await ended(client, (await deploy(client, name)).name)
        lines = await lines_of(client, deployment.name)

    assert deployment.failure.reason == "PREFLIGHT_FAILED"
    assert "not below the allowed directories" in deployment.failure.message
    assert not deployment.HasField("start_time")
    assert list(lines) == []


async def test_a_link_that_an_earlier_step_made_is_refused_before_the_next_one_starts(
    deployer: WarmDeployer, script: Callable[[str, str], Path]
) -> None:
    place = script("linker", "import os; os.symlink('/etc', 'late')")
    bad = a_command("bad", "git", "add", "late/passwd")
    bad["command"] |= {"workingDir": place.name}
    async with deployer.client() as client:
        rejected_before = len(await rejections(client))
        await register(client, a_pipeline("linker", a_stage("work", run_in(place), bad)))
        deployment = await ended(client, (await deploy(client, "linker")).name)
        rejected = await rejections(client)

    assert (deployment.failure.reason, deployment.failure.step) == ("STEP_FAILED", "bad")
    assert "not below the allowed directories" in deployment.failure.message
    assert len(rejected) == rejected_before + 1
    assert (rejected[0].resource, rejected[0].details["step"]) == (deployment.name, "work/bad")
