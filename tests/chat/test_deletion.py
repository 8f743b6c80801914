"""A user is deleted, and all that is theirs with them, whatever runs or waits at that moment."""

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django.fixtures import Settings

from chat import registry, upkeep
from chat.models import ChatSession, Stream
from chat.threads import in_thread
from events.models import EventHead, StoredEvent
from tests.chat.conftest import Logs
from tests.chat.conversation import FOREVER, SILENT, Conversation, until
from tests.chat.test_leases import accepted_elsewhere, ends, foreign_lease


async def owner_of(talk: Conversation) -> User:
    user = await in_thread(User.objects.create_user, "ada")
    await in_thread(ChatSession.objects.filter(id=talk.session_id).update, user=user)
    return user


async def delete(user: User) -> None:
    """As the admin does."""
    await database_sync_to_async(user.delete)()


@pytest.mark.parametrize("script", [SILENT, FOREVER])
async def test_the_streams_of_a_deleted_user_end_and_their_viewers_are_told(
    talk: Conversation, logs: Logs, script: str
) -> None:
    user = await owner_of(talk)
    runs = await talk.ask(script) if script == SILENT else await talk.ask_and_hear(script)
    waits = await talk.ask(if_busy="enqueue")
    await delete(user)
    assert {await talk.end_of(each) for each in (runs, waits)} == {"stopped"}
    await talk.until(lambda history: history[-1].type == "chat.session")
    assert talk.history[-1].data["deleted"] is True
    await until(lambda: not registry.current().streams)
    assert ends(logs) == [(each.stream.trace_id.hex, "stopped", True) for each in (runs, waits)]
    assert not {line["event"] for line in logs} & {"stream_failed", "stream_task_failed", "event_buffer_cleanup_error"}
    assert not await in_thread(Stream.objects.exists)


async def test_a_prompt_that_waits_to_undo_another_is_gone_too(talk: Conversation, logs: Logs) -> None:
    """It ends when its turn comes, which never does."""
    user = await owner_of(talk)
    await accepted_elsewhere(talk, await foreign_lease())
    waits = await talk.ask(FOREVER, if_busy="rollback")
    await delete(user)
    assert await talk.end_of(waits) == "stopped"
    assert "stream_failed" not in {line["event"] for line in logs}


async def test_the_log_of_a_deleted_user_is_kept_until_it_has_been_read(talk: Conversation, settings: Settings) -> None:
    user = await owner_of(talk)
    await talk.end_of(await talk.ask())
    await delete(user)
    await upkeep.tidy(timezone.now())
    await talk.until(lambda history: history[-1].type == "chat.session")
    settings.EVENTS_RETENTION_SECONDS = 1e-6
    await upkeep.tidy(timezone.now())
    assert not await in_thread(EventHead.objects.exists)
    assert not await in_thread(StoredEvent.objects.exists)


async def test_the_log_of_a_session_that_says_nothing_for_long_is_kept(talk: Conversation, settings: Settings) -> None:
    settings.EVENTS_RETENTION_SECONDS = 1e-6
    await talk.end_of(await talk.ask())
    await upkeep.tidy(timezone.now())
    assert not await in_thread(StoredEvent.objects.exists)
    assert await in_thread(EventHead.objects.exists)
