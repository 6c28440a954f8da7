"""From the address of a repository to the kind of storage that it is at."""

from __future__ import annotations

from pathlib import Path

import pytest
from obstore.store import AzureStore, GCSStore, S3Store

from opsuite_kernel.errors import InvalidInput
from opsuite_repository.storage.local import LocalStorage
from opsuite_repository.storage.object_store import ObjectStorage
from opsuite_repository.storage.open import open_storage
from opsuite_repository.storage.rest import RestStorage


@pytest.mark.parametrize(
    ("address", "folder"),
    [("/no/such", "/no/such"), ("local:/no/such", "/no/such"), ("./no:such", "no:such"), ("no-such", "no-such")],
)
def test_a_path_is_a_folder(address: str, folder: str) -> None:
    storage = open_storage(address)

    assert isinstance(storage, LocalStorage)
    assert storage.root == Path(folder)


@pytest.mark.parametrize(
    ("address", "bucket", "prefix", "endpoint"),
    [
        ("s3:http://127.0.0.1:9000/bucket", "bucket", None, "http://127.0.0.1:9000"),
        ("s3:https://store.example/bucket/a/b/", "bucket", "a/b", "https://store.example"),
        ("s3:store.example/bucket/a", "bucket", "a", "https://store.example"),
        ("s3:s3.amazonaws.com/bucket/a", "bucket", "a", None),
        ("s3://bucket/a/b", "bucket", "a/b", None),
    ],
)
def test_a_bucket_of_s3_is_at_its_endpoint(address: str, bucket: str, prefix: str | None, endpoint: str | None) -> None:
    storage = open_storage(address)

    assert isinstance(storage, ObjectStorage)
    assert isinstance(storage.store, S3Store)
    assert (storage.store.config["bucket"], storage.store.prefix) == (bucket, prefix)
    assert storage.store.config.get("endpoint") == endpoint


@pytest.mark.parametrize("address", ["gs:bucket:/a/b", "gs://bucket/a/b"])
def test_a_bucket_of_google_is_found(address: str) -> None:
    storage = open_storage(address)

    assert isinstance(storage, ObjectStorage)
    assert isinstance(storage.store, GCSStore)
    assert (storage.store.config["bucket"], storage.store.prefix) == ("bucket", "a/b")


@pytest.mark.parametrize("address", ["azure:container:/a/b", "azure://container/a/b"])
def test_a_container_of_azure_is_found(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")

    storage = open_storage(address)

    assert isinstance(storage, ObjectStorage)
    assert isinstance(storage.store, AzureStore)
    assert (storage.store.config["container_name"], storage.store.prefix) == ("container", "a/b")


def test_a_rest_server_is_not_asked_before_it_is_needed() -> None:
    assert isinstance(open_storage("rest:https://alice:secret@backup.example/alice/"), RestStorage)


@pytest.mark.parametrize(
    "address",
    [
        "ftp:secret",
        "s3:",
        "s3:secret",
        "s3:///secret",
        "gs:",
        "gs:/secret:/x",
        "azure:",
        "rest:secret",
        "rest:ftp://secret/",
    ],
)
def test_an_address_that_means_nothing_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        open_storage(address)

    assert "secret" not in str(refused.value)


def test_an_account_that_nobody_names_is_told_when_the_storage_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_CONNECTION_STRING"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(InvalidInput):
        open_storage("azure:container:/a")
