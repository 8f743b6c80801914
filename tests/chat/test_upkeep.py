"""Who stays away is forgotten. What else is bounded is proven on both databases, in `tests/cluster/test_upkeep.py`."""

from datetime import timedelta
from uuid import UUID

from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from chat import upkeep
from chat.models import ChatSession


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


def stay_away(*browsers: Client) -> None:
    keys = [browser.session.session_key for browser in browsers]
    Session.objects.filter(pk__in=keys).update(expire_date=timezone.now() - timedelta(seconds=1))


async def test_browsers_that_stay_away_are_forgotten_with_their_chats(spine: None, settings: Settings) -> None:
    settings.EVENTS_RETENTION_SECONDS = 1e-6
    away, comes, has_account = [await database_sync_to_async(each)() for each in (visited, visited, logged_in)]
    await database_sync_to_async(stay_away)(away, has_account)
    gone = await upkeep.tidy()
    assert (gone["browsers"], gone["sessions"]) == (2, 1)
    owners = await database_sync_to_async(lambda: {each.anonymous_id for each in ChatSession.objects.all()})()
    known = await database_sync_to_async(lambda: comes.session["anonymous_id"])()
    assert owners == {UUID(known), None}
    assert await database_sync_to_async(Session.objects.count)() == 1


async def test_they_are_forgotten_a_few_at_a_time_until_none_is_left(spine: None) -> None:
    expired = timezone.now() - timedelta(days=1)
    many = [Session(session_key=f"k{n:09}", session_data="", expire_date=expired) for n in range(450)]
    await database_sync_to_async(Session.objects.bulk_create)(many)
    assert (await upkeep.tidy())["browsers"] == 450
    assert not await database_sync_to_async(Session.objects.exists)()
