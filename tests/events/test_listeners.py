"""What is told in one go: events of one session that follow each other, as many as the others can wait for."""

from collections.abc import Sequence
from uuid import UUID, uuid4

from events.core.event import Event
from events.core.sse import encode
from events.groups import Signal
from events.listeners import _TOGETHER, Delivered, News, end_of_next, tell

ONE, OTHER = uuid4(), uuid4()


def news(session_id: UUID, *seqs: int) -> list[News]:
    return [(session_id, Event(seq, "test", f'"{seq}"')) for seq in seqs]


def parts(all_news: Sequence[News]) -> list[int]:
    """How many are told in each go."""
    sizes, start = [], 0
    while start < len(all_news):
        end = end_of_next(all_news, start)
        sizes.append(end - start)
        start = end
    return sizes


def test_events_that_follow_each_other_are_told_together() -> None:
    assert parts([*news(ONE, 1, 2, 3), *news(OTHER, 4), *news(ONE, 4, 5)]) == [3, 1, 2]


def test_a_hole_a_repetition_and_a_signal_end_what_is_told_together() -> None:
    assert parts(news(ONE, 1, 3, 4, 4, 5)) == [1, 2, 2]
    stop: News = (ONE, Signal("stop", ""))
    assert parts([*news(ONE, 1), stop, stop, *news(ONE, 2, 3)]) == [1, 1, 1, 2]


def test_so_many_are_told_in_several_goes() -> None:
    assert parts(news(ONE, *range(1, 2 * _TOGETHER + 2))) == [_TOGETHER, _TOGETHER, 1]


class Listening:
    session_id, cursor_seq = ONE, None

    def __init__(self) -> None:
        self.heard: list[object] = []

    def was_told(self) -> bool:
        return True

    def on_events(self, delivered: Sequence[Delivered]) -> None:
        self.heard.append(list(delivered))

    def on_signal(self, signal: Signal) -> None:
        self.heard.append(signal)

    def on_loss(self) -> None:
        self.heard.append(None)


def test_each_is_told_all_of_it_at_once() -> None:
    both = [Listening(), Listening()]
    tell(both, news(ONE, 1, 2))
    tell(both, [(ONE, Signal("stop", "now"))])
    events = [Event(1, "test", '"1"'), Event(2, "test", '"2"')]
    for listener in both:
        assert listener.heard == [[Delivered(event, encode(event)) for event in events], Signal("stop", "now")]
