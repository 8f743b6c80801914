"""What became of a COMMIT whose answer was lost with its connection. Once more would write everything twice."""

from typing import TYPE_CHECKING, Any

import psycopg
import structlog
from django.db import connection

from events.deadline import Connection

if TYPE_CHECKING:
    from events.log_writing import Committed

logger = structlog.get_logger(__name__)


class OutcomeUnknown(Exception):
    """The database was asked to commit and has not answered; `committed` is durable if it did."""

    def __init__(self, transaction_id: str, committed: "Committed") -> None:
        super().__init__(transaction_id)
        self.transaction_id = transaction_id
        self.committed = committed


def has_committed(transaction_id: str) -> bool | None:
    """None: the database cannot say it yet. Asks past the pool, which pauses longer and longer between its attempts."""
    wrapper: Any = connection
    try:
        with Connection.connect(**wrapper.get_connection_params()) as fresh:
            row: Any = fresh.execute("SELECT pg_xact_status(%s::xid8)", [transaction_id]).fetchone()
    except psycopg.errors.InvalidParameterValue:
        status = "unheard of"  # the server that took over from the one that was asked has not seen it
    except psycopg.Error as error:
        logger.debug("commit_outcome_asked", err=repr(error))
        return None
    else:
        status = row[0]
    if status == "in progress":
        return None
    logger.info("commit_outcome", status=status)
    return bool(status == "committed")
