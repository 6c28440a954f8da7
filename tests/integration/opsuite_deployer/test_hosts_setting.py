"""Hosts as a setting: a workload on another machine, reached over a real SSH server."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployer import DeployerProcess, a_deployer, a_pipeline, deploy, ended, register
from fakes.calls import status_of
from fakes.web_workload import SERVER
from opsuite_command import opsuite
from sshd import ONE, SshHost, running_sshd, ssh_host
from typer.testing import CliRunner

from opsuite_cli.main import app
from opsuite_platforms.hosts import HostsPlatform
from opsuite_platforms.port import ReplicaPhase


@pytest.fixture(scope="module")
def host() -> Iterator[SshHost]:
    """A host that nobody has prepared."""
    with running_sshd() as sshd, ssh_host(sshd, "one", ONE) as host:
        yield host


def a_hosts_file(directory: Path, host: SshHost, **fields: Any) -> Path:
    spec = host.spec
    entry = {
        "name": spec.name,
        "address": spec.address,
        "user": spec.user,
        "key_file": str(spec.key_file),
        "known_hosts": str(spec.known_hosts),
        "data": str(spec.data),
        "port": spec.port,
        "python": spec.python,
        "ports": f"{spec.ports.start}-{spec.ports.stop - 1}",
    }
    path = directory / "hosts.yaml"
    path.write_text(yaml.safe_dump({"hosts": [entry | fields]}))
    return path


async def test_a_workload_runs_on_the_host_that_the_settings_name(host: SshHost, tmp_path: Path) -> None:
    file = a_hosts_file(tmp_path, host)
    with a_deployer(DEPLOYER_HOSTS_FILE=str(file)) as deployer:
        program = deployer.work / "serve"
        program.write_text(SERVER)
        program.chmod(0o755)
        web = {"workload": "web", "command": ["./serve", "${port}"], "ports": [{"name": "http"}], "replicas": 2}
        prepared = await asyncio.to_thread(opsuite, deployer, "host", "prepare", str(file))
        assert (prepared.status, prepared.out) == (0, "host one: is ready\n")
        async with deployer.client() as client:
            await register(client, a_pipeline("hosted", {"name": "run", "workload": web}))
            done = await ended(client, (await deploy(client, "hosted", "1.0")).name)
            assert status_of(done) == "SUCCEEDED", done

        platform = HostsPlatform([host.spec])
        try:
            seen = await platform.observe("web")
        finally:
            await platform.close()
        assert seen.version == "1.0"
        assert [replica.phase for replica in seen.replicas] == [ReplicaPhase.RUNNING] * 2
        assert {port in ONE for replica in seen.replicas for port in replica.ports.values()} == {True}
        assert not (deployer.data_dir / "supervisor" / "programs").exists(), "something runs on the deployer's machine"


def test_a_bad_file_keeps_the_deployer_from_starting_and_says_all_that_is_wrong(host: SshHost, tmp_path: Path) -> None:
    file = a_hosts_file(tmp_path, host, port=0, key_file="nothing")
    parent = Path(tempfile.mkdtemp(prefix="opsuite-"))
    deployer = DeployerProcess(parent / "data", {"DEPLOYER_HOSTS_FILE": str(file)})
    try:
        deployer.start(wait=False)
        assert deployer.wait_until_gone() == 1
        assert "hosts[0].port: must be a port" in deployer.log()
        assert "hosts[0].key_file: there is no file" in deployer.log()
        refused = CliRunner().invoke(app, ["host", "prepare", str(file)])  # which needs no deployer
        assert (refused.exit_code, "hosts[0].port: must be a port" in refused.stderr) == (1, True)
    finally:
        deployer.close()
        shutil.rmtree(parent)
