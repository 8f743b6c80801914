"""What can go wrong with events. The class docstring is the default message."""


class EventsError(Exception):
    """The events of this session cannot be handled."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))


class StorageUnavailable(EventsError):
    """The event log cannot be written: its disk is full, or its database is away or locked."""


class TooManyViewers(EventsError):
    """This process has as many viewers as it may have (`EVENTS_MAX_VIEWERS`)."""


class BusClosed(EventsError):
    """The event bus of this process is closed; it is shutting down."""
