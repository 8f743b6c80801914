"""A program that talks to a running server as people's programs do, and remembers everything that it was given."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp
from aiohappyeyeballs import SocketFactoryType

from events.core.sse import Decoder
from tests.corpus import sent_times
from tests.history import History, Seen

EVENT_STREAM = {"Accept": "text/event-stream"}


class Reply(NamedTuple):
    status: int
    data: Any  # JSON; the text of what is none
    headers: Mapping[str, str]

    @property
    def error(self) -> tuple[int, str]:
        """Status and code of a refusal."""
        return self.status, self.data["error"]["code"]


class Client:
    """One caller: the user of an API key, or an anonymous browser that has opened the page.

    `make_socket`: for another network than the test's. `silence_seconds`: how long a reader waits for a sign of life.
    """

    def __init__(
        self,
        url: str,
        key: str = "",
        *,
        make_socket: SocketFactoryType | None = None,
        silence_seconds: float | None = None,
    ) -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._make_socket = make_socket
        self._silence_seconds = silence_seconds
        self._viewers: set[Viewer] = set()

    async def __aenter__(self) -> Self:
        self.http = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True),  # unsafe: servers that are named by their address
            connector=aiohttp.TCPConnector(limit=0, force_close=True, socket_factory=self._make_socket),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=self._silence_seconds),
        )
        if not self._headers:
            async with self.http.get(f"{self.url}/") as page:
                assert page.status == 200, await page.text()
            token = next(cookie.value for cookie in self.http.cookie_jar if cookie.key == "csrftoken")
            self._headers = {"X-CSRFToken": token, "Referer": f"{self.url}/"}
        self.http.headers.update(self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for viewer in tuple(self._viewers):
            await viewer.disconnected()
        await self.http.close()

    def credentials(self) -> dict[str, str]:
        """The headers by which the server knows this caller, for who speaks HTTP by hand."""
        cookies = "; ".join(f"{cookie.key}={cookie.value}" for cookie in self.http.cookie_jar)
        return {**self._headers, "Cookie": cookies}

    async def send(
        self,
        method: str,
        path: str,
        value: Any = None,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """`value` goes as JSON, `body` as it is."""
        data = json.dumps(value).encode() if value is not None else body
        content = data and BytesIO(data)  # aiohttp warns of large bytes
        kind = {} if data is None else {"Content-Type": "application/json"}
        async with (
            asyncio.timeout(30),
            self.http.request(method, self.url + path, data=content, headers={**kind, **(headers or {})}) as response,
        ):
            text = await response.text()
            is_json = text and response.content_type == "application/json"
            return Reply(response.status, json.loads(text) if is_json else text, response.headers)

    async def new_session(self) -> str:
        reply = await self.send("POST", "/api/sessions/", {})
        assert reply.status == 201, reply
        return str(reply.data["id"])

    async def session(self, session: str) -> Any:
        reply = await self.send("GET", f"/api/sessions/{session}/")
        assert reply.status == 200, reply
        return reply.data

    async def answer_of(self, session: str, stream_id: str) -> Any:
        """The stored message that the stream has written."""
        return next(each for each in (await self.session(session))["messages"] if each.get("stream_id") == stream_id)

    async def prompt(self, session: str, text: str, *, key: str = "", **options: Any) -> Reply:
        """202 and the ids, or a refusal."""
        headers = {"Idempotency-Key": key} if key else {}
        return await self.send(
            "POST", f"/api/sessions/{session}/streams/", {"prompt": text, **options}, headers=headers
        )

    async def stream_id(self, session: str, text: str, **options: Any) -> str:
        """The id of the stream of an accepted prompt."""
        reply = await self.prompt(session, text, **options)
        assert reply.status == 202, reply
        return str(reply.data["stream_id"])

    async def stop(self, session: str, stream_id: str | None = None) -> bool:
        what = {} if stream_id is None else {"stream_id": stream_id}
        reply = await self.send("POST", f"/api/sessions/{session}/stop/", what)
        assert reply.status == 200, reply
        return bool(reply.data["stopped"])

    def ask(self, session: str, text: str, *, key: str = "", **options: Any) -> "Viewer":
        """A streamed prompt: who reads the answer is who asked."""
        data = json.dumps({"prompt": text, **options}).encode()
        headers = {**EVENT_STREAM, "Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        return self._view("POST", f"/api/sessions/{session}/streams/", headers, data)

    def follow(self, session: str, after: int | str | None = None, *, header: bool = True) -> "Viewer":
        """Everything that happens in the session after that cursor; None: from a snapshot on."""
        path = f"/api/sessions/{session}/events/"
        headers = dict(EVENT_STREAM)
        if after is not None and header:
            headers["Last-Event-ID"] = str(after)
        elif after is not None:
            path += f"?after={after}"
        return self._view("GET", path, headers, None)

    def _view(self, method: str, path: str, headers: dict[str, str], data: bytes | None) -> "Viewer":
        viewer = Viewer(self.http.request(method, self.url + path, headers=headers, data=data))
        self._viewers.add(viewer)
        viewer.over.add_done_callback(lambda _: self._viewers.discard(viewer))
        return viewer


class Viewer:
    """One connected reader. It reads in the background, from when it is made."""

    def __init__(self, request: Any) -> None:
        self.history = History()
        self.snapshots: list[Seen] = []
        self.bodies: list[bytes] = []
        self.status = 0
        self.refusal = ""
        self.ages: list[float] = []  # seconds between a token's sending and its arrival, if it tells (timed corpus)
        self.error: Exception | None = None  # how the connection broke; None: it has ended in order, or goes on
        self._request = request
        self._changed = asyncio.Event()
        self.over = asyncio.get_running_loop().create_task(self._read())

    @property
    def stream_id(self) -> str:
        """Of the first stream that it has seen."""
        return next((seen.stream_id for seen in self.history if seen.stream_id), "")

    @property
    def text(self) -> str:
        return self.history.text(self.stream_id)

    @property
    def cursor(self) -> int:
        """What it would name on coming back."""
        known = [seen.seq for seen in (*self.snapshots, *self.history) if seen.seq is not None]
        return max(known, default=0)

    async def until(self, condition: Callable[["Viewer"], object], timeout_seconds: float = 20) -> Self:
        try:
            async with asyncio.timeout(timeout_seconds):
                while not condition(self):
                    assert not self.over.done() or self._changed.is_set(), f"the response has ended: {self!r}"
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"not in {timeout_seconds:g} s: {self!r}") from None
        return self

    async def until_open(self) -> Self:
        return await self.until(lambda viewer: viewer.status)

    async def until_text(self) -> Self:
        return await self.until(lambda viewer: viewer.text)

    async def until_end(self, stream_id: str = "", timeout_seconds: float = 20) -> str:
        """The reason, or the error's code; of the first stream if none is named."""
        await self.until(lambda viewer: viewer.history.end_of(stream_id or viewer.stream_id), timeout_seconds)
        return self.history.end_of(stream_id or self.stream_id)

    async def until_over(self, timeout_seconds: float = 20) -> Self:
        """Until the server has ended the response."""
        async with asyncio.timeout(timeout_seconds):
            await asyncio.shield(self.over)
        return self

    async def disconnected(self) -> float:
        """Leaves without a word; the monotonic time of that."""
        self.over.cancel()
        await asyncio.gather(self.over, return_exceptions=True)
        return time.monotonic()

    def __repr__(self) -> str:
        return f"status {self.status} {self.refusal} {self.error!r}, last seen: {[*self.history[-5:]]}"

    async def _read(self) -> None:
        try:
            async with self._request as response:
                self.status = response.status
                self._changed.set()
                if response.status != 200:
                    self.refusal = await response.text()
                    return
                decoder = Decoder()
                async for chunk in response.content.iter_any():
                    self._take(decoder, chunk)
        except aiohttp.ClientError as error:
            self.error = error
        finally:
            self._changed.set()

    def _take(self, decoder: Decoder, chunk: bytes) -> None:
        now = time.monotonic()
        self.bodies.append(chunk)
        for frame in decoder.feed(chunk):
            seen = Seen(None if frame.id is None else int(frame.id), frame.event, json.loads(frame.data))
            if seen.type == "snapshot":
                self.snapshots.append(seen)
                continue
            if seen.type == "chat.token":
                self.ages += [now - sent for sent in sent_times(seen.data["text"])]
            self.history.append(seen)
        self._changed.set()
