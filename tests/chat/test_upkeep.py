"""Who stays away is forgotten. What else is bounded is proven on both databases, in `tests/cluster/test_upkeep.py`."""

import asyncio
import time
from datetime import timedelta
from uuid import UUID

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from chat import clock_watch, registry, upkeep
from chat.clock_watch import JUMP_SECONDS, STEADY_SECONDS, ClockWatch
from chat.models import ChatSession
from chat.threads import in_thread
from tests.chat.conftest import Logs
from tests.chat.conversation import until

DAY = 24 * 3600.0


def visited() -> Client:
    """A browser with a chat."""
    browser = Client()
    browser.get("/")
    ChatSession.objects.create(anonymous_id=browser.session["anonymous_id"])
    return browser


def logged_in() -> Client:
    browser = Client()
    browser.force_login(User.objects.create_user("ada"))
    ChatSession.objects.create(user=User.objects.get())
    return browser


async def forgets_who_stays_away() -> None:
    """Returns once the server's upkeep has."""
    long_ago = timezone.now() - timedelta(days=1)
    away = Session(session_key="away", session_data="", expire_date=long_ago)
    await in_thread(away.save)
    async with asyncio.timeout(10):
        while await in_thread(Session.objects.exists):
            pass


def put_off(logs: Logs) -> Logs:
    return [line for line in logs if line["event"] == "upkeep_put_off"]


def stay_away(*browsers: Client) -> None:
    keys = [browser.session.session_key for browser in browsers]
    Session.objects.filter(pk__in=keys).update(expire_date=timezone.now() - timedelta(seconds=1))


async def test_browsers_that_stay_away_are_forgotten_with_their_chats(spine: None, settings: Settings) -> None:
    settings.EVENTS_RETENTION_SECONDS = 1e-6
    away, comes, has_account = [await database_sync_to_async(each)() for each in (visited, visited, logged_in)]
    await database_sync_to_async(stay_away)(away, has_account)
    assert (await upkeep.tidy(timezone.now()))["browsers"] == 2
    assert (await upkeep.tidy(timezone.now()))["sessions"] == 1
    owners = await database_sync_to_async(lambda: {each.anonymous_id for each in ChatSession.objects.all()})()
    known = await database_sync_to_async(lambda: comes.session["anonymous_id"])()
    assert owners == {UUID(known), None}
    assert await database_sync_to_async(Session.objects.count)() == 1


async def test_they_are_forgotten_a_few_at_a_time_until_none_is_left(spine: None) -> None:
    expired = timezone.now() - timedelta(days=1)
    many = [Session(session_key=f"k{n:09}", session_data="", expire_date=expired) for n in range(450)]
    await database_sync_to_async(Session.objects.bulk_create)(many)
    assert (await upkeep.tidy(timezone.now()))["browsers"] == 450
    assert not await database_sync_to_async(Session.objects.exists)()


async def test_what_is_old_is_so_by_the_time_at_which_the_clock_was_right(
    spine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may jump while all is gone through, and what is deleted does not come back."""
    now = timezone.now()
    deleted = ChatSession(deleted_at=now, anonymous_id=UUID(int=1))
    browser = Session(session_key="stays", session_data="", expire_date=now + timedelta(days=1))
    for each in (deleted, browser):
        await in_thread(each.save)
    later = now + timedelta(days=30)
    monkeypatch.setattr(timezone, "now", lambda: later)
    monkeypatch.setattr(time, "time", later.timestamp)
    assert not any((await upkeep.tidy(now)).values())
    assert (await upkeep.tidy(later))["browsers"] == 1


async def test_a_server_deletes_nothing_while_its_clock_may_be_wrong(
    spine: None, settings: Settings, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CHAT_UPKEEP_SECONDS = 0.01
    monkeypatch.setattr(clock_watch, "STEADY_SECONDS", 0.5)
    ahead, real = 0.0, ClockWatch.is_steady
    monkeypatch.setattr(ClockWatch, "is_steady", lambda watch, wall, now: real(watch, wall + ahead, now))
    registry.current().start()
    await forgets_who_stays_away()
    ahead = 15 * DAY
    await until(lambda: put_off(logs))
    since = time.monotonic()
    await forgets_who_stays_away()
    assert time.monotonic() - since > 0.4
    assert len(put_off(logs)) == 1


def test_a_clock_that_jumps_is_not_steady_until_it_has_gone_on_evenly() -> None:
    clock = ClockWatch(wall=1e9, monotonic=100)
    assert clock.is_steady(1e9 + 60, 160)
    assert not clock.is_steady(1e9 + 120 + DAY, 220)
    assert clock.jumped_seconds == DAY
    assert not clock.is_steady(1e9 + 180 + DAY, 280)
    assert clock.jumped_seconds == 0, "it is told once"
    assert not clock.is_steady(1e9 + 240, 340), "set right again"
    assert clock.jumped_seconds == -DAY
    assert not clock.is_steady(1e9 + 239 + STEADY_SECONDS, 339 + STEADY_SECONDS)
    assert clock.is_steady(1e9 + 240 + STEADY_SECONDS, 340 + STEADY_SECONDS)


def test_a_clock_that_drifts_is_steady() -> None:
    clock = ClockWatch(wall=1e9, monotonic=0)
    assert all(clock.is_steady(1e9 + now * 1.1, now) for now in range(0, 10_000, int(JUMP_SECONDS)))
