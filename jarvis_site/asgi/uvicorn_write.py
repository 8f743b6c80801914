"""Under uvicorn too an event is written where it is handed over, and nobody is woken to send it (`events.consumers`).

uvicorn's `send` waits for one thing only: room on a connection whose client is slow. It says whether that is so
(`flow.write_paused`, in both of its HTTP protocols), so it can be called by hand while there is room. What its faster
protocol would do then is to write a chunk: done here, that saves a coroutine an event (#4: 4 % while 100 stream).
"""

from collections.abc import Callable
from typing import Any

from jarvis_site.asgi.types import Send

_CHUNKED = ("chunked_encoding", "response_complete", "disconnected")  # of httptools' protocol, and not of h11's


def write_of(send: Send) -> Callable[[bytes], bool] | None:
    """The scope extension `events.write` for a response that is being sent; None if this is not uvicorn's `send`."""
    response: Any = getattr(send, "__self__", None)
    flow: Any = getattr(response, "flow", None)
    if not hasattr(flow, "write_paused"):
        return None

    in_chunks = all(hasattr(response, name) for name in _CHUNKED)

    def write(data: bytes) -> bool:
        if flow.write_paused:
            return False
        if in_chunks and response.chunked_encoding and not (response.response_complete or response.disconnected):
            if data:
                response.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
            return True
        sending = response.send({"type": "http.response.body", "body": data, "more_body": True})
        try:
            sending.send(None)
        except StopIteration:
            return True
        # Another uvicorn, that waits for something else: what it has written nobody knows. A cut can be resumed, but
        # nothing that is sent twice can be called back.
        sending.close()
        response.transport.close()
        return True

    return write
