"""The transactions of a stream: its prompt is accepted, its turn begins, its first token comes, it ends.

Each runs on the event log's writer thread, in one transaction with the events it appends. They decide by what the
database holds, so they are right whichever process runs them, and whenever. A stream takes its session's log with its
turn (`open_turn`); from then on whatever an older stream still writes is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.db import connection
from django.utils import timezone

from chat import wire
from chat.accepting import make_way, next_turn, store
from chat.announcing import announce, announce_late, announce_waiting, roll_back, unfinished
from chat.exceptions import NotFound
from chat.idempotency import claim, claimed
from chat.models import ChatSession, Stream
from chat.prompt import PromptRequest
from chat.rows import read, update
from chat.stream_state import ENDED, NEXT, UNFINISHED, EndReason, StreamState, end_state
from events.all_rows import values
from events.log_transaction import Along, Entry, First, LogTransaction
from events.statements import key_of, on_postgresql, run

_ENDING = (
    *("state", "reason", "ended_at", "error_message", "retryable", "prompt_tokens", "completion_tokens"),
    *("tokens", "batches", "text_bytes", "duration_seconds", "first_token_seconds", "lease_id"),
)


class TurnLost(Exception):
    """A newer stream has taken the session's log, and has ended this one."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A stored prompt. `seq`: the log's head before its first event. `before`: unfinished streams, oldest first."""

    stream: Stream
    seq: int
    before: tuple[Stream, ...] = ()
    begun: bool = False
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a stream ended, and what is known of it."""

    reason: EndReason
    error_message: str = ""
    retryable: bool = False
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    duration_seconds: float | None = None
    tokens: int = 0
    batches: int = 0
    text_bytes: int = 0
    first_token_seconds: float | None = None


@dataclass(slots=True)
class Begun:
    """`stream` has its turn, has ended without one, or was deleted (None). `ended`: whom this transaction ended."""

    stream: Stream | None
    ended: list[Stream] = field(default_factory=list)


def accept(log: LogTransaction, request: PromptRequest, lease_id: UUID | None) -> Accepted:
    """Stores the prompt with the session's next turn; if nothing runs there, the turn begins at once.

    Raises NotFound, IdempotencyMismatch, SessionBusy.
    """
    found = read(ChatSession, "id = %s AND deleted_at IS NULL", request.session_id, lock=True)
    if not found:
        raise NotFound
    session = found[0]
    if known := repeated(request):
        return known
    before = unfinished(session)
    if before:
        make_way(request, before)
    stream = next_turn(session, request, lease_id, undoes=before[0].turn if before else None)
    seq = log.head(session.id) if before else _take_log(log, stream)
    store(stream)
    claim(request, stream, seq)
    if before and request.if_busy == Stream.IfBusy.ENQUEUE:
        for position, waiting in enumerate([*before, stream]):
            announce_waiting(log, waiting, position)
    return Accepted(stream, seq, tuple(before), begun=not before)


def repeated(request: PromptRequest) -> Accepted | None:
    """What this prompt got when it was sent before with the same key. Raises IdempotencyMismatch."""
    key = claimed(request)
    return None if key is None else Accepted(key.stream, key.seq, repeated=True)


def begin(log: LogTransaction, stream_id: UUID, *, force: bool) -> Begun | None:
    """The stream's turn, if no older stream of the session is unfinished any more; else None.

    With `force` the older ones are ended here and now (their process did not in time). A stream that was told to stop
    while it waited ends instead of beginning.
    """
    stream = _locked(stream_id)
    begun = Begun(stream)
    if stream is None or stream.state in ENDED:
        return begun
    older = stream.session.streams.filter(state__in=UNFINISHED, turn__lt=stream.turn).order_by("turn")
    for other in older:
        if not force:
            return None
        if ended := end(log, other.id, Outcome(EndReason(other.stop_requested or EndReason.INTERRUPTED)), force=True):
            begun.ended.append(ended)
    if stream.rollback_from is not None:
        roll_back(log, stream)
    if stream.stop_requested:
        begun.stream = stream = end(log, stream.id, Outcome(EndReason(stream.stop_requested))) or stream
        begun.ended.append(stream)
    else:
        _begin(log, stream)
    return begun


def first_token(stream: Stream, speaking: Entry, seconds: float) -> First:
    """What is stored with the first batch: before the text the status, `speaking`. State and time follow it."""
    return First([speaking], Along(_speak, (stream.id, seconds)))


def _speak(log: LogTransaction, begun: Sequence[tuple[UUID, float]]) -> None:
    """Hundreds of streams may begin to speak together, and text waits for this: one statement, by hand.

    It takes as long as the text itself, for each of them: so it comes with the second batch, when the first one is out.
    """
    rows = [(key_of(stream_id), seconds) for stream_id, seconds in begun]
    marks, parameters = values(rows, "(%s::uuid, %s::float8)" if on_postgresql() else "")
    run(
        f"WITH v (id, seconds) AS (VALUES {marks}) UPDATE chat_stream AS s"  # noqa: S608
        " SET state = %s, first_token_seconds = v.seconds FROM v WHERE s.id = v.id AND s.state = %s",
        [*parameters, StreamState.STREAMING.value, StreamState.THINKING.value],
    )


def end(
    log: LogTransaction,
    stream_id: UUID,
    outcome: Outcome,
    entries: Sequence[Entry] = (),
    text: str | None = None,
    *,
    force: bool = False,
) -> Stream | None:
    """The stream's terminal event, its message and its state; None if it has ended before, or is gone.

    `entries` go before it: text that could not be stored when it left. The message is what the log holds: exactly
    what viewers were given. `text` is the same, from who ran the stream and has it at hand. Raises TurnLost if a newer
    turn has the log; `force` is for those who end what another process left, and does not mind.
    """
    stream = _locked(stream_id)
    if stream is None or stream.state in ENDED:
        return None
    state = end_state(outcome.reason)
    assert state in NEXT[StreamState(stream.state)]
    stream.state, stream.reason, stream.ended_at = state, outcome.reason, timezone.now()
    stream.error_message, stream.retryable = outcome.error_message, outcome.retryable
    stream.prompt_tokens, stream.completion_tokens = outcome.prompt_tokens, outcome.completion_tokens
    stream.tokens, stream.batches, stream.text_bytes = outcome.tokens, outcome.batches, outcome.text_bytes
    stream.duration_seconds = outcome.duration_seconds
    if outcome.first_token_seconds is not None:
        stream.first_token_seconds = outcome.first_token_seconds
    if stream.duration_seconds is None:
        stream.duration_seconds = max(0.0, (stream.ended_at - stream.created_at).total_seconds())
    stream.lease_id = None  # only what runs refers to its process: a lease that ends has little to let go
    if stream.started_at is None:
        announce_late(log, stream)
        log.append(stream.session_id, wire.terminal(stream))
    else:
        turn = None if force else stream.turn
        if force:
            stream.tokens = None  # only who ran it knows how many there were in each batch
        if log.append(stream.session_id, *entries, wire.terminal(stream), turn=turn) is None:
            raise TurnLost
        log.close_turn(stream.session_id, stream.turn)
    texts = [text] if text is not None else log.data_of(stream.session_id, stream.id, wire.TOKEN, "text")
    if stream.message_id is not None:
        run(
            "UPDATE chat_message SET text = %s, state = %s, reason = %s WHERE id = %s",
            ["".join(texts), state.value, outcome.reason.value, key_of(stream.message_id)],
        )
    if force:
        stream.batches, stream.text_bytes = len(texts), sum(len(text.encode()) for text in texts)
    update(stream, *_ENDING)
    return stream


def request_stop(session_id: UUID, stream_id: UUID | None, reason: EndReason) -> list[UUID]:
    """Which streams of the session are to end, from now on durably: this one, or all that are unfinished."""
    unfinished = Stream.objects.filter(session_id=session_id, state__in=UNFINISHED)
    if stream_id is not None:
        unfinished = unfinished.filter(id=stream_id)
    stream_ids = list(unfinished.values_list("id", flat=True))
    unfinished.filter(stop_requested="").update(stop_requested=reason)
    return stream_ids


# --- parts of beginning and ending ---


def _locked(stream_id: UUID) -> Stream | None:
    """The stream, and its session to ourselves: what is read of them from here on stays so until the commit.

    None: its user was deleted, and all that was theirs with them (`deletion.py`).

    The lock is a statement of its own: one that waits for a lock reads the rows it joins as they were before.
    """
    if connection.features.has_select_for_update:  # SQLite has one writer anyway
        list(ChatSession.objects.select_for_update().filter(streams=stream_id).values_list("id"))
    found = read(Stream, "id = %s", stream_id)
    return found[0] if found else None


def _begin(log: LogTransaction, stream: Stream) -> None:
    unannounced = stream.prompt is not None and stream.prompt.seq is None
    _take_log(log, stream)
    stream.queued_seconds = max(0.0, (timezone.now() - stream.created_at).total_seconds())
    stream.save(update_fields=["state", "started_at", "queued_seconds"])
    if unannounced:
        announce(stream)


def _take_log(log: LogTransaction, stream: Stream) -> int:
    """The stream's turn begins, and its prompt is shown if it has not been: stores the events, and nothing else.

    The head before them.
    """
    if not log.open_turn(stream.session_id, stream.turn):
        raise TurnLost
    stream.state, stream.started_at, stream.queued_seconds = StreamState.THINKING, timezone.now(), 0.0
    entries = [wire.status(stream, StreamState.THINKING)]
    shows = stream.prompt if stream.prompt is not None and stream.prompt.seq is None else None
    if shows is not None:
        entries.append(wire.prompt(stream, shows))
    last = log.append(stream.session_id, *entries, turn=stream.turn)
    assert last is not None  # the turn has just been opened
    if shows is not None:
        shows.seq = last
    return last - len(entries)
