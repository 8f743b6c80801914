"""The table of a stream's states is whole, and the database agrees with it."""

from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction

from chat.models import ChatSession, Stream
from chat.stream_state import ACTIVE, ENDED, NEXT, UNFINISHED, EndReason, StreamState, end_state, is_error


def test_every_state_is_in_the_table_and_leads_only_to_states_of_it() -> None:
    assert set(NEXT) == set(StreamState)
    assert {following for states in NEXT.values() for following in states} == set(StreamState) - {StreamState.QUEUED}


def test_every_state_is_reached_from_the_first_and_none_is_entered_twice() -> None:
    def paths(state: StreamState, before: frozenset[StreamState]) -> set[StreamState]:
        assert state not in before, "a circle"
        return {state}.union(*(paths(following, before | {state}) for following in NEXT[state]))

    assert paths(StreamState.QUEUED, frozenset()) == set(StreamState)


def test_active_and_ended_and_waiting_are_all_there_is() -> None:
    assert ACTIVE | {StreamState.QUEUED} == UNFINISHED
    assert set(StreamState) == UNFINISHED | ENDED
    assert not UNFINISHED & ENDED


@pytest.mark.parametrize("reason", EndReason)
def test_every_reason_ends_in_a_state_that_an_active_stream_may_reach(reason: EndReason) -> None:
    state = end_state(reason)
    assert state in ENDED
    assert all(state in NEXT[active] for active in ACTIVE)
    assert is_error(reason) == (state is StreamState.FAILED)


@pytest.mark.parametrize("reason", [reason for reason in EndReason if end_state(reason) is not StreamState.COMPLETED])
def test_a_stream_that_never_began_may_end_for_every_reason_but_an_answer(reason: EndReason) -> None:
    assert end_state(reason) in NEXT[StreamState.QUEUED]


@pytest.mark.parametrize(
    "stored",
    [
        [{"state": "thinking"}, {"state": "streaming"}],
        [{"state": "completed", "reason": ""}],
        [{"state": "streaming", "reason": "stopped"}],
        [{"turn": 1}, {"turn": 1}],
    ],
)
def test_the_database_refuses_what_the_table_does_not_know(db: None, stored: list[dict[str, object]]) -> None:
    session = ChatSession.objects.create()
    streams = [Stream(id=uuid4(), **{"session": session, "turn": turn, **fields}) for turn, fields in enumerate(stored)]
    with pytest.raises(IntegrityError), transaction.atomic():
        Stream.objects.bulk_create(streams)
