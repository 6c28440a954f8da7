"""Who a host is and who we are is proved by keys alone."""

from __future__ import annotations

from dataclasses import replace

import asyncssh
import pytest
from sshd import SshHost, own_hosts, write_key

from opsuite_kernel.errors import Unavailable
from opsuite_platforms.hosts import HostsPlatform
from opsuite_platforms.ssh import HostSpec

__all__ = ["own_hosts"]


async def refusal_of(host: HostSpec) -> Unavailable:
    platform = HostsPlatform([host])
    with pytest.raises(Unavailable) as refusal:
        await platform.check()
    await platform.close()
    return refusal.value


async def test_a_host_that_nobody_vouches_for_is_refused_with_its_fingerprint(
    own_hosts: tuple[SshHost, SshHost],
) -> None:
    host = own_hosts[0]
    host.sshd.known_hosts.write_text("")

    refusal = await refusal_of(host.spec)

    fingerprint = asyncssh.import_public_key(host.sshd.public_host_key).get_fingerprint()
    assert refusal.reason == "HOST_KEY_UNKNOWN"
    assert fingerprint in refusal.message
    assert f"ssh-keyscan -p {host.spec.port} 127.0.0.1 >> {host.spec.known_hosts}" in refusal.message


async def test_a_host_that_shows_another_key_than_the_known_one_is_refused(own_hosts: tuple[SshHost, SshHost]) -> None:
    sshd = own_hosts[0].sshd
    sshd.kill()
    sshd.new_host_key()
    sshd.start()

    refusal = await refusal_of(own_hosts[0].spec)

    assert refusal.reason == "HOST_KEY_CHANGED"
    assert asyncssh.import_public_key(sshd.public_host_key).get_fingerprint() in refusal.message


async def test_a_key_that_the_host_does_not_know_is_refused(own_hosts: tuple[SshHost, SshHost]) -> None:
    stranger = own_hosts[0].sshd.directory / "stranger"
    write_key(stranger)

    refusal = await refusal_of(replace(own_hosts[0].spec, key_file=stranger))

    assert refusal.reason == "LOGIN_REFUSED"
    assert str(stranger) in refusal.message


@pytest.mark.parametrize("missing", ["key_file", "known_hosts"])
async def test_a_missing_file_is_told(own_hosts: tuple[SshHost, SshHost], missing: str) -> None:
    path = own_hosts[0].sshd.directory / "missing"
    host = replace(own_hosts[0].spec, key_file=path) if missing == "key_file" else None

    refusal = await refusal_of(host or replace(own_hosts[0].spec, known_hosts=path))

    assert str(path) in refusal.message
