"""What differs between the versions of the bakery: this one orders nothing, which no gate of a rollout can see.

It sells until the store is empty: until there is a file `store-is-empty` beside the directories of the versions.
"""

from http import HTTPStatus
from pathlib import Path

VERSION = "1.1.0"
STORE_IS_EMPTY = Path(__file__).parents[1] / "store-is-empty"


def sell(number: int) -> tuple[HTTPStatus, str]:
    if STORE_IS_EMPTY.exists():
        return HTTPStatus.SERVICE_UNAVAILABLE, f"sold out (version {VERSION})\n"
    return HTTPStatus.OK, f"loaf {number} (version {VERSION})\n"


def health() -> tuple[HTTPStatus, str]:
    if STORE_IS_EMPTY.exists():
        return HTTPStatus.SERVICE_UNAVAILABLE, "sold out\n"
    return HTTPStatus.OK, "fine\n"
