"""The way to PostgreSQL, on which the answer to a COMMIT can be lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self


class DatabaseLink:
    """`port` leads to the server's. An async context manager."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._writers: set[asyncio.StreamWriter] = set()
        self._armed = self._down = False
        self._lost = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._cut()
        self._server.close()

    @asynccontextmanager
    async def commit_unanswered(self) -> AsyncIterator[None]:
        """The next commit with text of an answer is done, and nobody hears of it; until the end the way is closed."""
        self._armed = True
        await self._lost.wait()
        try:
            yield
        finally:
            self._down = False

    async def _serve(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        self._writers.add(answers)
        if self._down:
            answers.close()
            return
        server, questions = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._writers.add(questions)
        try:
            await asyncio.gather(self._ask(client, questions), self._answer(server, answers))
        except ConnectionError:
            pass
        finally:
            for writer in (answers, questions):
                writer.close()
                self._writers.discard(writer)

    async def _ask(self, client: asyncio.StreamReader, questions: asyncio.StreamWriter) -> None:
        has_text = False
        while data := await client.read(1 << 16):
            has_text |= b"chat.token" in data
            if b"COMMIT" in data:
                if self._armed and has_text:
                    self._armed, self._down = False, True
                has_text = False
            questions.write(data)
        questions.close()

    async def _answer(self, server: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        while data := await server.read(1 << 16):
            if self._down and b"COMMIT" in data:
                self._cut()
                self._lost.set()
            if not self._down:
                answers.write(data)
        answers.close()

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
