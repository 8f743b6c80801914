"""The event log's two tables. Written and read in raw SQL by `event_log.py`; these models make the schema.

On SQLite they have columns more, and no key by session and `seq` (`chain.py`, migration 0002): whatever changes these
tables there must keep the chain, and look for a session's events along it.
"""

from django.db import models


class EventHead(models.Model):
    """Where a session's log stands: its last `seq`, and the `turn` whose events it accepts while that is `open`."""

    session_id = models.UUIDField(primary_key=True)
    seq = models.BigIntegerField(default=0)
    turn = models.BigIntegerField(default=0)
    open = models.BooleanField(default=False)

    class Meta:
        db_table = "events_head"

    def __str__(self) -> str:
        return f"{self.session_id} at {self.seq}"


class StoredEvent(models.Model):
    """One event: `seq` counts 1, 2, 3 … without holes in its session; `data` is compact JSON."""

    pk = models.CompositePrimaryKey("session_id", "seq")
    session_id = models.UUIDField()
    seq = models.BigIntegerField()
    stream_id = models.UUIDField(null=True)
    type = models.CharField(max_length=64)
    data = models.TextField()
    created_at = models.FloatField()  # seconds since the epoch; only retention looks at it

    class Meta:
        db_table = "events_event"

    def __str__(self) -> str:
        return f"{self.seq} {self.type}"
