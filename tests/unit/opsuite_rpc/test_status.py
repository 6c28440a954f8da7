"""Errors travel as statuses and come back as they were."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from opsuite_kernel import errors
from opsuite_kernel.errors import (
    Conflict,
    Exhausted,
    Internal,
    InvalidInput,
    NotFound,
    OpsuiteError,
    Stale,
    Unavailable,
    Violation,
)
from opsuite_rpc.status import CODES, DOMAIN, MAX_STATUS_BYTES, code_of, from_rpc_error, to_status

BINARY = "grpc-status-details-bin"
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
REASONS = st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True)
METADATA = st.dictionaries(st.from_regex(r"[a-z_]{1,10}", fullmatch=True), TEXT, max_size=4)
DELAYS = st.none() | st.timedeltas(timedelta(0), timedelta(days=1))
VIOLATIONS = st.lists(st.builds(Violation, TEXT, TEXT, REASONS), min_size=1, max_size=5)
PLAIN = [errors.Conflict, errors.Stale, errors.Denied, errors.Unauthenticated]
PLAIN += [errors.Gone, errors.TimedOut, errors.Internal]
ERRORS: st.SearchStrategy[OpsuiteError] = st.one_of(
    st.builds(InvalidInput, VIOLATIONS, message=TEXT.filter(bool), reason=REASONS, metadata=METADATA),
    st.builds(NotFound, TEXT, TEXT, reason=REASONS),
    *(
        st.builds(kind, TEXT, retry_after=DELAYS, reason=REASONS, metadata=METADATA)
        for kind in (Unavailable, Exhausted)
    ),
    *(st.builds(kind, TEXT, reason=REASONS | st.none(), metadata=METADATA) for kind in PLAIN),
)


def as_received(status: status_pb2.Status) -> grpc.aio.AioRpcError:
    """What a client gets for it."""
    code = next(each for each in grpc.StatusCode if each.value[0] == status.code)
    trailers = grpc.aio.Metadata((BINARY, status.SerializeToString()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, status.message)


def foreign(code: grpc.StatusCode, message: str = "no", trailers: bytes | None = None) -> grpc.aio.AioRpcError:
    metadata = grpc.aio.Metadata() if trailers is None else grpc.aio.Metadata((BINARY, trailers))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), metadata, message)


def unpacked(status: status_pb2.Status, kind: Any) -> Any:
    found = [each for each in status.details if each.Is(kind.DESCRIPTOR)]
    assert len(found) == 1
    detail = kind()
    found[0].Unpack(detail)
    return detail


@given(ERRORS)
def test_an_error_comes_back_as_the_same_kind_with_the_same_facts(error: OpsuiteError) -> None:
    back = from_rpc_error(as_received(to_status(error)))

    assert type(back) is type(error)
    assert {**vars(back), "reason": back.reason} == {**vars(error), "reason": error.reason}
    assert str(back) == str(error)


@given(ERRORS)
def test_a_status_has_one_error_info_and_no_detail_twice(error: OpsuiteError) -> None:
    status = to_status(error)

    info = unpacked(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain, dict(info.metadata)) == (error.reason, DOMAIN, error.metadata)
    assert len({each.type_url for each in status.details}) == len(status.details)


@pytest.mark.parametrize("kind", CODES)
def test_every_kind_has_a_code_of_its_own(kind: type[OpsuiteError]) -> None:
    assert [other for other, code in CODES.items() if code is CODES[kind]] == [kind]


def test_a_subclass_is_sent_as_the_nearest_kind() -> None:
    class TooMany(Exhausted):
        reason = "TOO_MANY"

    back = from_rpc_error(as_received(to_status(TooMany("later", retry_after=timedelta(seconds=2)))))

    assert type(back) is Exhausted
    assert (back.reason, back.retry_after) == ("TOO_MANY", timedelta(seconds=2))


def test_an_error_of_no_kind_is_internal() -> None:
    assert code_of(OpsuiteError("odd")) is grpc.StatusCode.INTERNAL


def test_a_conflict_says_what_stands_in_the_way() -> None:
    status = to_status(Conflict("occupied", reason="ENVIRONMENT_BUSY", metadata={"name": "staging"}))

    (failure,) = unpacked(status, error_details_pb2.PreconditionFailure).violations
    assert (failure.type, failure.subject, failure.description) == ("ENVIRONMENT_BUSY", "staging", "occupied")


def test_violations_that_do_not_fit_are_counted() -> None:
    violations = [Violation(f"stages[{number}].name", "is too long " * 5, "TOO_LONG") for number in range(200)]

    status = to_status(InvalidInput(violations))

    back = from_rpc_error(as_received(status))
    assert isinstance(back, InvalidInput)
    *kept, last = back.violations
    assert status.ByteSize() < MAX_STATUS_BYTES
    assert kept == violations[: len(kept)]
    assert len(kept) > 20
    assert last == Violation("", f"and {200 - len(kept)} more", "TRUNCATED")


LONG = st.integers(0, 5000).map(lambda size: "ü€😀"[size % 3] * size)
LONG_ERRORS: st.SearchStrategy[OpsuiteError] = st.one_of(
    st.builds(InvalidInput, st.lists(st.builds(Violation, LONG, LONG, LONG), min_size=1, max_size=40)),
    st.builds(NotFound, LONG, LONG, reason=LONG),
    st.builds(Conflict, LONG, reason=LONG, metadata=st.dictionaries(LONG, LONG, max_size=40)),
    st.builds(Unavailable, LONG, retry_after=DELAYS, metadata=st.dictionaries(LONG, LONG, max_size=40)),
)


@given(LONG_ERRORS)
def test_a_status_fits_into_the_trailers_however_long_its_texts(error: OpsuiteError) -> None:
    assert to_status(error).ByteSize() < MAX_STATUS_BYTES


def test_text_that_is_not_unicode_is_sent_all_the_same() -> None:
    assert from_rpc_error(as_received(to_status(Stale("bad \udcff byte")))).message == "bad ? byte"


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_a_status_without_details_is_judged_by_its_code(code: grpc.StatusCode) -> None:
    error = from_rpc_error(foreign(code, "no such luck"))

    own = next((kind for kind, each in CODES.items() if each is code), None)
    others = {"ALREADY_EXISTS": Conflict, "CANCELLED": Unavailable}
    assert type(error) is (own or others.get(code.name, Internal))
    assert error.message == "no such luck"
    assert error.reason == (own.reason if own else code.name)


def test_an_invalid_argument_of_others_is_one_violation_of_the_request() -> None:
    error = from_rpc_error(foreign(grpc.StatusCode.INVALID_ARGUMENT, "what?"))

    assert isinstance(error, InvalidInput)
    assert error.violations == (Violation("", "what?"),)


def test_details_that_cannot_be_read_are_passed_over() -> None:
    error = from_rpc_error(foreign(grpc.StatusCode.NOT_FOUND, "gone", b"\xff\xff\xff"))

    assert isinstance(error, NotFound)
    assert error.message == "gone"


def test_an_error_without_a_code_is_internal() -> None:
    assert type(from_rpc_error(grpc.RpcError("odd"))) is Internal
