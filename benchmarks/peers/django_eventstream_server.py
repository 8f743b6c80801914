"""django-eventstream without its storage: `send_event` for each token, to a channel a stream."""

import asyncio

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="benchmark",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django_eventstream"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django_eventstream import send_event  # noqa: E402
from django_eventstream.views import events  # noqa: E402
from source import tokens as source  # noqa: E402

running = set()


def publish(query):
    async def work():
        async for token in source(float(query["at"]), int(query["tokens"]), float(query["rate"])):
            send_event(query["channel"], "message", token, json_encode=False)
            await asyncio.sleep(0)  # its listeners keep ten events and lose the rest: let them take each, late or not

    task = asyncio.get_running_loop().create_task(work())
    running.add(task)
    task.add_done_callback(running.discard)


async def stream(request):
    publish(request.GET)
    return await watch(request)


async def watch(request):
    response = events(request)
    return await response if asyncio.iscoroutine(response) else response


async def start(request):
    publish(request.GET)
    return JsonResponse({})


urlpatterns = [path("stream", stream), path("watch", watch), path("start", start)]
app = get_asgi_application()
