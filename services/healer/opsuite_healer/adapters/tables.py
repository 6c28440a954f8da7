"""The tables that all parts share: events, audit, repeated calls, messages that are to be sent.

Each part has tables of its own in `adapters/<part>/tables.py`, on this metadata. What is there and what the migrations
make is compared by a test, on both databases.
"""

from __future__ import annotations

from typing import Final

from opsuite_runs import audit as audit_tables
from opsuite_runs import events as event_tables
from opsuite_runs import idempotency as idempotency_tables
from opsuite_storage.columns import new_metadata

metadata: Final = new_metadata()

events: Final = event_tables.define(metadata)
audit: Final = audit_tables.define(metadata)
requests: Final = idempotency_tables.define(metadata)
