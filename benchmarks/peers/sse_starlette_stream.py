"""sse-starlette, as its documentation shows it."""

from source import tokens as source
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route


async def stream(request):
    query = request.query_params

    async def events():
        async for token in source(float(query["at"]), int(query["tokens"]), float(query["rate"])):
            yield {"data": token}

    return EventSourceResponse(events())


app = Starlette(routes=[Route("/stream", stream)])
