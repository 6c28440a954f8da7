"""From the address of a repository to its storage: restic's spellings, and those that other tools use for buckets.

    /srv/backups  local:/srv/backups            a folder
    s3:https://host:9000/bucket/prefix          S3 and what speaks like it   s3:host/bucket/prefix  s3://bucket/prefix
    gs:bucket:/prefix                           Google Cloud Storage         gs://bucket/prefix
    azure:container:/prefix                     Azure Blob Storage           azure://container/prefix
    rest:https://user:password@host:8000/path/  a REST server

Credentials of object stores come from the environment, by the names their own tools use (AWS_ACCESS_KEY_ID,
GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY …).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_repository.storage.local import LocalStorage
from opsuite_repository.storage.object_store import ObjectStorage, client_options, no_retries
from opsuite_repository.storage.port import Storage
from opsuite_repository.storage.rest import RestStorage
from opsuite_repository.storage.retrying import Patience

if TYPE_CHECKING:
    from obstore.store import ObjectStore, S3Config

_AMAZON: Final = "amazonaws.com"


def open_storage(address: str, *, patience: Patience | None = None) -> Storage:
    """The storage at an address. Raises InvalidInput for an address that means nothing; asks no server yet."""
    patience = patience or Patience()
    scheme, separator, rest = address.partition(":")
    if not separator or address.startswith(("/", ".")):  # also a folder with a colon in its name
        return LocalStorage(Path(address))
    match scheme:
        case "local":
            return LocalStorage(Path(rest))
        case "rest":
            return RestStorage(rest, patience)
        case "s3" | "gs" | "azure":
            return ObjectStorage(_bucket_store(scheme, rest, patience), patience)
        case _:
            raise _invalid("begins with no kind of storage that is known: local, s3, gs, azure, rest")


def _bucket_store(scheme: str, rest: str, patience: Patience) -> ObjectStore:
    try:
        match scheme:
            case "s3":
                return _s3(rest, patience)
            case "gs":
                bucket, prefix = _bucket(rest)
                return GCSStore(
                    bucket, prefix=prefix, client_options=client_options(patience), retry_config=no_retries()
                )
            case _:
                bucket, prefix = _bucket(rest)
                return AzureStore(
                    bucket, prefix=prefix, client_options=client_options(patience), retry_config=no_retries()
                )
    except BaseError as error:  # such as no account in the environment
        raise _invalid(f"cannot be used: {str(error).partition(chr(10))[0]}") from error


def _s3(rest: str, patience: Patience) -> S3Store:
    endpoint, bucket, prefix = _s3_parts(rest)
    where: S3Config = {"virtual_hosted_style_request": False}
    if endpoint is not None:
        where["endpoint"] = endpoint
    options = client_options(patience, allow_http=endpoint is not None and endpoint.startswith("http:"))
    return S3Store(bucket, prefix=prefix, config=where, client_options=options, retry_config=no_retries())


def _s3_parts(rest: str) -> tuple[str | None, str, str | None]:
    """Endpoint (None for Amazon's own, which follows from the region), bucket and prefix."""
    if rest.startswith("//"):
        bucket, prefix = _bucket(rest)
        return None, bucket, prefix
    url = urlsplit(rest if "://" in rest else f"https://{rest}")
    bucket, _, prefix = url.path.strip("/").partition("/")
    if not url.hostname or not bucket:
        raise _invalid("names no host and bucket: s3:https://host/bucket/prefix")
    own = url.hostname == _AMAZON or url.hostname == f"s3.{_AMAZON}"
    return None if own else f"{url.scheme}://{url.netloc}", bucket, prefix or None


def _bucket(rest: str) -> tuple[str, str | None]:
    """`bucket:/prefix` or `//bucket/prefix`."""
    bucket, _, prefix = rest[2:].partition("/") if rest.startswith("//") else rest.partition(":")
    if not bucket or "/" in bucket:
        raise _invalid("names no bucket")
    return bucket, prefix.strip("/") or None


def _invalid(description: str) -> InvalidInput:
    """The error that a wrong address gets. It does not repeat the address, which may hold a password."""
    return InvalidInput([Violation("repository", description, "ADDRESS")])
