"""Where a server is looked for, and what opens it."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fakes.deployer_service import NAME, FakeDeployer, serving

from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite.deployer.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from opsuite_kernel.errors import InvalidInput, NotFound, Unavailable
from opsuite_rpc.channel import Target, Tls, connect, data_directory, default_target

GET = pb.GetDeploymentRequest(name=NAME)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"OPSUITE_DATA_DIR": "/data", "XDG_STATE_HOME": "/state", "HOME": "/home/u"}, "/data"),
        ({"XDG_STATE_HOME": "/state"}, "/state/opsuite"),
        ({"OPSUITE_DATA_DIR": "", "XDG_STATE_HOME": ""}, f"{Path.home()}/.local/state/opsuite"),
    ],
)
def test_the_data_directory_is_the_first_that_is_named(environ: dict[str, str], expected: str) -> None:
    assert data_directory(environ) == Path(expected)


def test_without_settings_a_service_is_in_the_data_directory(tmp_path: Path) -> None:
    environ = {"OPSUITE_DATA_DIR": str(tmp_path)}
    assert default_target("deployer", environ) == Target(f"unix://{tmp_path}/run/deployer.sock")

    (tmp_path / "token").write_text("t")
    assert default_target("healer", environ) == Target(f"unix://{tmp_path}/run/healer.sock", None, tmp_path / "token")


def test_the_environment_names_address_token_and_certificates() -> None:
    environ = {
        "OPSUITE_DEPLOYER_ADDRESS": "deployer.example:7000",
        "OPSUITE_TOKEN": "t",
        "OPSUITE_TOKEN_FILE": "/run/token",
        "OPSUITE_CA_FILE": "/run/ca.pem",
        "OPSUITE_CERT_FILE": "/run/cert.pem",
        "OPSUITE_KEY_FILE": "/run/key.pem",
    }

    expected = Tls(Path("/run/ca.pem"), Path("/run/cert.pem"), Path("/run/key.pem"))
    assert default_target("deployer", environ) == Target("deployer.example:7000", "t", Path("/run/token"), expected)


def test_the_local_token_is_not_shown_to_other_machines(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    environ = {"OPSUITE_DATA_DIR": str(tmp_path)}

    assert default_target("deployer", {**environ, "OPSUITE_DEPLOYER_ADDRESS": "there:7000"}).token_file is None
    for address in ("127.0.0.1:7000", "localhost:7000", "[::1]:7000", "unix:///run/d.sock"):
        target = default_target("deployer", {**environ, "OPSUITE_DEPLOYER_ADDRESS": address})
        assert target.token_file == tmp_path / "token", address


def test_a_target_does_not_show_its_token() -> None:
    assert "hunter2" not in repr(Target("127.0.0.1:7000", token="hunter2"))


@pytest.mark.parametrize(
    "address", ["", "7000", "localhost:", ":7000", "http://localhost:7000", "unix://relative.sock"]
)
async def test_a_malformed_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput):
        async with connect(address):
            pass


@pytest.mark.parametrize("address", ["deployer.example:7000", "10.0.0.7:7000", "localhost.example:7000"])
async def test_another_machine_is_not_called_without_tls(address: str) -> None:
    with pytest.raises(InvalidInput, match="needs TLS"):
        async with connect(address, token="t"):
            pass


class Certificates:
    """One self-signed certificate for 127.0.0.1, which the server shows and the client trusts."""

    def __init__(self, directory: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "opsuite test")])
        day = datetime.timedelta(days=1)
        today = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), today - day, today + day
        )
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        self.key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.file, self.key_file = directory / "cert.pem", directory / "key.pem"
        self.file.write_bytes(self.pem)
        self.key_file.write_bytes(self.key_pem)

    @property
    def server(self) -> grpc.ServerCredentials:
        return grpc.ssl_server_credentials([(self.key_pem, self.pem)], self.pem, require_client_auth=True)


async def test_over_tls_both_sides_show_certificates_and_the_token_goes_along(tmp_path: Path) -> None:
    ours, fake = Certificates(tmp_path), FakeDeployer()
    tls = Tls(ours.file, ours.file, ours.key_file)

    async with serving(fake, credentials=ours.server) as address:
        async with connect(Target(address, token="t", tls=tls)) as connection:
            await DeploymentServiceStub(connection.channel).GetDeployment(GET)
        async with connect(address, tls=Tls(ours.file)) as connection:
            with pytest.raises(Unavailable):
                await DeploymentServiceStub(connection.channel).GetDeployment(GET)

    assert [seen.metadata["authorization"] for seen in fake.seen] == ["Bearer t"]


async def test_a_missing_certificate_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"ca\.pem"):
        async with connect("127.0.0.1:1", tls=Tls(tmp_path / "ca.pem")):
            pass
