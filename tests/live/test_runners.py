"""The application is as right under other servers, if less protected: plain `daphne`, and uvicorn."""

from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.live import test_bad_input, test_disconnect, test_streaming, test_two_prompts, test_viewers
from tests.live.site import Site, running_site

CORE: list[Callable[[Site], Awaitable[None]]] = [
    test_streaming.test_a_prompt_is_answered_while_it_is_written,
    test_streaming.test_what_is_stored_is_what_was_streamed_byte_for_byte,
    test_streaming.test_who_does_not_want_to_wait_gets_202_and_reads_on_from_there,
    test_streaming.test_a_page_that_is_reloaded_gets_a_snapshot_and_what_follows,
    test_streaming.test_stop_from_another_connection,
    test_streaming.test_a_session_that_is_deleted_ends_its_viewers,
    test_disconnect.test_in_mid_stream,
    test_disconnect.test_before_the_first_token,
    test_disconnect.test_in_the_queue,
    test_disconnect.test_while_the_prompt_is_being_accepted,
    test_two_prompts.test_twenty_prompts_of_the_same_instant,
    test_viewers.test_fifty_viewers_read_the_same_bytes_and_they_are_what_is_stored,
]

# From 100 kB on, plain Daphne puts a body into a file, on the event loop.
SMALL_NO_PROMPTS = [case for case in test_bad_input.NO_PROMPTS if len(case[0]) < 100_000]


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def other_site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with running_site(runner=request.param) as site:
        yield site


@pytest.mark.parametrize("holds", CORE, ids=lambda test: test.__name__)
async def test_under_another_server(other_site: Site, holds: Callable[[Site], Awaitable[None]]) -> None:
    await holds(other_site)


@pytest.mark.parametrize("header", [True, False], ids=["Last-Event-ID", "after"])
async def test_a_viewer_who_comes_back_misses_nothing(other_site: Site, header: bool) -> None:
    await test_streaming.test_a_viewer_who_comes_back_misses_nothing(other_site, header)


@pytest.mark.parametrize(("body", "headers", "error"), SMALL_NO_PROMPTS)
async def test_a_prompt_that_is_none_is_refused(
    other_site: Site, body: bytes, headers: dict[str, str], error: tuple[int, str]
) -> None:
    await test_bad_input.test_a_prompt_that_is_none_is_refused_and_nothing_is_stored(
        other_site, body, headers, error, streamed=True
    )


async def test_after_all_that_the_server_goes_on(other_site: Site) -> None:
    await test_bad_input.test_after_all_that_the_server_goes_on(other_site)
