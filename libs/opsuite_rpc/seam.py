"""Stands in for status.py and shapes.py until they are here; goes away with them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from opsuite_kernel import errors
from opsuite_kernel.errors import Violation

_CODES: tuple[tuple[type[errors.OpsuiteError], int], ...] = (
    (errors.InvalidInput, 3),
    (errors.NotFound, 5),
    (errors.Conflict, 9),
    (errors.Stale, 10),
    (errors.Denied, 7),
    (errors.Unauthenticated, 16),
    (errors.Exhausted, 8),
    (errors.Unavailable, 14),
    (errors.Gone, 11),
    (errors.TimedOut, 4),
    (errors.Internal, 13),
)


def _to_status(error: errors.OpsuiteError) -> status_pb2.Status:
    status = status_pb2.Status(code=next(code for kind, code in _CODES if isinstance(error, kind)), message=str(error))
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=error.reason, domain="opsuite", metadata=error.metadata)
    )
    return status


def _loaded(module: str, name: str, otherwise: Any) -> Any:
    try:
        return getattr(importlib.import_module(f"opsuite_rpc.{module}"), name)
    except ModuleNotFoundError:
        return otherwise


to_status: Callable[[errors.OpsuiteError], status_pb2.Status] = _loaded("status", "to_status", _to_status)
compile_service: Callable[[Any], Mapping[str, Callable[[Message], Sequence[Violation]]]] = _loaded(
    "shapes", "compile_service", lambda _descriptor: {}
)
