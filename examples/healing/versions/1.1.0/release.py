"""What differs between the versions of the bakery: this one bakes forty loaves and no more, which no gate can see."""

from http import HTTPStatus

VERSION = "1.1.0"
LOAVES = 40
_sold = 0


def sell(number: int) -> tuple[HTTPStatus, str]:
    global _sold
    _sold = number
    if number > LOAVES:
        return HTTPStatus.SERVICE_UNAVAILABLE, f"sold out (version {VERSION})\n"
    return HTTPStatus.OK, f"loaf {number} (version {VERSION})\n"


def health() -> tuple[HTTPStatus, str]:
    if _sold >= LOAVES:
        return HTTPStatus.SERVICE_UNAVAILABLE, "sold out\n"
    return HTTPStatus.OK, "fine\n"
