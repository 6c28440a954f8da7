"""What differs between the versions of the bakery: this one orders flour before the store is empty."""

from http import HTTPStatus

VERSION = "1.0.0"


def sell(number: int) -> tuple[HTTPStatus, str]:
    return HTTPStatus.OK, f"loaf {number} (version {VERSION})\n"


def health() -> tuple[HTTPStatus, str]:
    return HTTPStatus.OK, "fine\n"
