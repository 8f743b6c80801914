"""No session belongs to a process: what one runs, any other shows, stops and interrupts."""

import asyncio
from random import Random

import pytest

from tests.cluster.client import Client
from tests.cluster.cluster import Cluster
from tests.faults.checker import violations

LONG = "scripted:?tokens=2000&rate=50"
SHORT = "scripted:?tokens=20&rate=200"


async def test_a_stream_is_watched_from_another_process_as_quickly_as_from_its_own(
    standing: Cluster, client: Client
) -> None:
    a, b = standing["a"], standing["b"]
    session = await client.at(a).new_session()
    async with client.watch(session, a) as own, client.watch(session, b) as other:
        stream = await client.at(a).stream_id(session, SHORT)
        await own.end_of(stream)
        end = await other.end_of(stream)
        assert end.data["reason"] == "completed"
        assert own.text(stream) == other.text(stream) != ""
        late = [there.at - here.at for here, there in zip(own.events, other.events, strict=True)]
        assert max(late) < 1.0  # by the channel layer: the check of the log would take two seconds
        assert violations([own, other], await client.at(b).session(session)) == []


async def test_any_process_stops_and_interrupts_what_another_runs(standing: Cluster, client: Client) -> None:
    a, b, c = standing["a"], standing["b"], standing["c"]
    session = await client.at(a).new_session()
    async with client.watch(session, b) as viewer:
        first = await client.at(a).stream_id(session, LONG)
        await viewer.tokens_of(first)
        assert await client.at(c).stop(session)
        assert (await viewer.end_of(first, 1.5)).data["reason"] == "stopped"
        second = await client.at(a).stream_id(session, LONG)
        await viewer.tokens_of(second)
        third = await client.at(c).stream_id(session, SHORT)
        assert (await viewer.end_of(second, 1.5)).data["reason"] == "interrupted"
        assert (await viewer.end_of(third)).data["reason"] == "completed"
        assert violations([viewer], await client.at(b).session(session)) == []
    lines = await standing.log_lines("c", "prev_stream_finished_cleanly")
    assert any(session in line for line in lines)


async def test_a_deleted_session_ends_for_the_viewers_of_every_process(standing: Cluster, client: Client) -> None:
    a, b, c = standing["a"], standing["b"], standing["c"]
    session = await client.at(a).new_session()
    async with client.watch(session, c) as viewer:
        stream = await client.at(a).stream_id(session, LONG)
        await viewer.tokens_of(stream)
        assert (await client.at(b).send("DELETE", f"/api/sessions/{session}/")).status == 204
        assert (await client.at(c).send("GET", f"/api/sessions/{session}/")).status == 404
        await viewer.until(lambda viewer: viewer.statuses[-1] == 404)
        assert viewer.seen[-1].type == "chat.session"
        assert viewer.seen[-1].data["deleted"]
        assert viewer.ends(stream)[0].data["reason"] == "stopped"
        assert violations([viewer]) == []


async def test_waiting_prompts_of_several_processes_run_in_the_order_of_their_turns(
    standing: Cluster, client: Client
) -> None:
    servers = [standing["a"], standing["b"], standing["c"]]
    session = await client.at(servers[0]).new_session()
    async with client.watch(session, servers[2]) as viewer:
        streams = []
        for number in range(5):
            text = f"scripted:?tokens={10 + number}&rate=100"
            streams.append(await client.at(servers[number % 3]).stream_id(session, text, if_busy="enqueue"))
        for stream in streams:
            assert (await viewer.end_of(stream)).data["reason"] == "completed"
        ends = [seen.data["stream_id"] for seen in viewer.seen if seen.type == "chat.end"]
        assert ends == streams
        assert violations([viewer], await client.at(servers[0]).session(session)) == []


async def test_waiting_prompts_of_several_processes_end_unstarted_when_another_interrupts(
    standing: Cluster, client: Client
) -> None:
    a, b, c = standing["a"], standing["b"], standing["c"]
    session = await client.at(a).new_session()
    async with client.watch(session, b) as viewer:
        first = await client.at(a).stream_id(session, LONG)
        await viewer.tokens_of(first)
        waiting = [await client.at(each).stream_id(session, SHORT, if_busy="enqueue") for each in (b, a, c, b)]
        last = await client.at(c).stream_id(session, SHORT)
        assert (await viewer.end_of(last)).data["reason"] == "completed"
        ends = [(seen.data["stream_id"], seen.data["reason"]) for seen in viewer.seen if seen.type == "chat.end"]
        assert ends == [*((stream, "interrupted") for stream in (first, *waiting)), (last, "completed")]
        for stream in waiting:
            told = await client.at(a).send("GET", f"/api/sessions/{session}/streams/{stream}/")
            assert (told.data["reason"], told.data["started_at"]) == ("interrupted", None)
        assert violations([viewer], await client.at(a).session(session)) == []


async def test_a_rollback_removes_what_another_process_runs(standing: Cluster, client: Client) -> None:
    a, b = standing["a"], standing["b"]
    session = await client.at(a).new_session()
    async with client.watch(session, b) as viewer:
        first = await client.at(a).stream_id(session, LONG)
        await viewer.tokens_of(first)
        second = await client.at(b).stream_id(session, SHORT, if_busy="rollback")
        await viewer.end_of(second)
        assert viewer.ends(first)[0].data["reason"] == "interrupted"
        removed = [seen for seen in viewer.seen if seen.type == "chat.removed"]
        assert len(removed) == 1
        messages = (await client.at(a).session(session))["messages"]
        assert len(messages) == 2
        assert not {message["id"] for message in messages} & set(removed[0].data["message_ids"])


async def test_a_busy_session_rejects_a_prompt_at_every_process(standing: Cluster, client: Client) -> None:
    a, b = standing["a"], standing["b"]
    session = await client.at(a).new_session()
    async with client.watch(session, a) as viewer:
        stream = await client.at(a).stream_id(session, LONG)
        refused = await client.at(b).prompt(session, SHORT, if_busy="reject")
        assert (refused.status, refused.data["error"]["code"]) == (409, "session_busy")
        assert await client.at(b).stop(session, stream)
        await viewer.end_of(stream)
        assert await client.at(b).stop(session, stream) is False


async def test_one_idempotency_key_at_every_process_at_once_is_one_stream(standing: Cluster, client: Client) -> None:
    servers = [standing["a"], standing["b"], standing["c"]]
    session = await client.at(servers[0]).new_session()
    answers = await asyncio.gather(
        *(client.at(servers[number % 3]).prompt(session, SHORT, key="one") for number in range(9))
    )
    assert {answer.status for answer in answers} == {202}
    assert len({(answer.data["stream_id"], answer.data["seq"]) for answer in answers}) == 1
    assert (await client.at(servers[1]).prompt(session, "something else", key="one")).status == 422
    assert len((await client.at(servers[2]).session(session))["messages"]) == 2


@pytest.mark.parametrize("seed", range(3))
async def test_concurrent_prompts_stops_and_viewers_leave_one_history(
    standing: Cluster, client: Client, seed: int
) -> None:
    """Never two streams at once, every one ended once, and everyone saw the same: whatever the processes did."""
    chance = Random(seed)
    servers = [standing["a"], standing["b"], standing["c"]]
    session = await client.at(servers[0]).new_session()
    streams: list[str] = []

    async def caller() -> None:
        for _ in range(5):
            server, policy = chance.choice(servers), chance.choice(["interrupt", "rollback", "enqueue", "reject"])
            answer = await client.at(server).prompt(session, "scripted:?tokens=15&rate=100", if_busy=policy)
            assert answer.status in (202, 409), answer
            if answer.status == 202:
                streams.append(answer.data["stream_id"])
            if chance.random() < 0.2:
                await client.at(chance.choice(servers)).stop(session)

    async with client.watch(session, servers[0]) as one, client.watch(session, servers[1]) as other:
        await asyncio.gather(*(caller() for _ in range(4)))
        for stream in streams:
            await one.end_of(stream)
            await other.end_of(stream)
        stored = await client.at(servers[2]).session(session)
        assert stored["active_stream"] is None
        assert violations([one, other], stored) == []
    assert len(streams) > 4


async def test_on_one_sqlite_file_other_processes_see_and_stop_within_their_checks(
    on_sqlite: Cluster, client: Client
) -> None:
    a, b = on_sqlite["a"], on_sqlite["b"]
    session = await client.at(a).new_session()
    async with client.watch(session, a) as own, client.watch(session, b) as other:
        first = await client.at(a).stream_id(session, LONG)
        await other.tokens_of(first)
        assert await client.at(b).stop(session)
        assert (await own.end_of(first, 4)).data["reason"] == "stopped"
        second = await client.at(a).stream_id(session, LONG)
        await own.tokens_of(second)
        third = await client.at(b).stream_id(session, SHORT)
        assert (await own.end_of(second, 5)).data["reason"] == "interrupted"
        await own.end_of(third, 6)
        await other.end_of(third, 3)
        late = [there.at - here.at for here, there in zip(own.events, other.events, strict=True)]
        assert max(late) < 3
        assert violations([own, other], await client.at(b).session(session)) == []
