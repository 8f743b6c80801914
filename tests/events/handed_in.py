"""A test's way to wait for what it has handed in to the log."""

import asyncio
from collections.abc import Callable, Sequence
from uuid import UUID

from events.event_log import EventLog
from events.log_transaction import Along, Append, Entry


def handed_in(
    log: EventLog,
    session_id: UUID,
    entries: Sequence[Entry],
    turn: int | None = None,
    *,
    on_doubt: Callable[[], None] = lambda: None,
    along: Along | None = None,
) -> "asyncio.Future[int | None]":
    """What `EventLog.hand_in` calls with the result or the error."""
    future: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    def settle(last: int | None, error: Exception | None) -> None:
        if error is None:
            future.set_result(last)
        else:
            future.set_exception(error)

    log.hand_in(Append(session_id, entries, turn), settle, on_doubt, along)
    return future
