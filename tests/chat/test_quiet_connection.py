"""What the model says while nobody asks for it wakes nobody, and is there in one go for who asks again."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack, aclosing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chat.providers.base import Finish, ProviderError
from chat.providers.openai_compatible import Endpoint, OpenAICompatibleProvider
from chat.providers.quiet_connection import WAKES_BYTES
from tests.chat.heard import Resting, asking
from tests.corpus import plain_text
from tests.scripted_endpoint import ScriptedEndpoint


@pytest.fixture
async def provider(endpoint: ScriptedEndpoint) -> AsyncIterator[OpenAICompatibleProvider]:
    provider = OpenAICompatibleProvider(Endpoint(endpoint.url, "", "scripted"), connect_seconds=2, idle_seconds=5)
    yield provider
    await provider.aclose()


@pytest.fixture
def certified(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's side of TLS on 127.0.0.1, and that of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "scripted endpoint")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "endpoint.pem").write_bytes(private + certificate)
    at_server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    at_server.load_cert_chain(tmp_path / "endpoint.pem")
    return at_server, ssl.create_default_context(cadata=certificate.decode())


def told_bytes(provider: OpenAICompatibleProvider) -> int:
    """How much of the answer's body the event loop, or the reader, has taken from the kernel."""
    (response,) = provider._answers
    return response.content.total_bytes


async def sent_by(endpoint: ScriptedEndpoint, tokens: int) -> None:
    await endpoint.until(lambda e: e.records[0].tokens_sent >= tokens)


async def tokens_of(answer: AsyncGenerator[Any, None]) -> list[str]:
    tokens = await anext(answer)
    assert isinstance(tokens, list)
    return tokens


async def read_into(tokens: list[str], answer: AsyncGenerator[Any, None]) -> None:
    async for item in answer:
        tokens += item if isinstance(item, list) else []


async def rest_of(answer: AsyncGenerator[Any, None]) -> str:
    tokens: list[str] = []
    await read_into(tokens, answer)
    return "".join(tokens)


async def test_what_comes_meanwhile_wakes_nobody_and_is_read_in_one_go(
    endpoint: ScriptedEndpoint, provider: OpenAICompatibleProvider
) -> None:
    async with aclosing(provider.stream(asking("scripted:?tokens=60&rate=200"))) as answer:
        text = "".join(await tokens_of(answer))
        before = told_bytes(provider)
        for sent in (20, 40):  # also the second time, with no wait in between
            await sent_by(endpoint, sent)
            assert told_bytes(provider) == before
            tokens = await tokens_of(answer)
            assert len(tokens) >= 10
            text += "".join(tokens)
            before = told_bytes(provider)
        assert text + await rest_of(answer) == plain_text(60)


async def test_who_rests_reads_without_waking_and_leaves_the_end_to_the_reader(
    endpoint: ScriptedEndpoint, provider: OpenAICompatibleProvider
) -> None:
    rest = Resting()
    async with aclosing(provider.stream(asking("scripted:?tokens=60&rate=200"), rest)) as answer:
        text = "".join(await tokens_of(answer))
        for sent in (20, 40):
            await sent_by(endpoint, sent)
            tokens = rest.read()
            assert len(tokens) >= 10
            assert not rest.ended.is_set()
            text += "".join(tokens)
        async with asyncio.timeout(5):
            await rest.ended.wait()
        text += "".join(rest.read())
        assert text == plain_text(60)
        assert not rest.read()
        assert isinstance(await anext(answer), Finish)


async def test_who_rests_finds_what_came_before_a_cut_and_leaves_that_to_the_reader(
    endpoint: ScriptedEndpoint, provider: OpenAICompatibleProvider
) -> None:
    rest = Resting()
    prompt = "scripted:?tokens=40&rate=200&fault=reset&at=20"
    async with aclosing(provider.stream(asking(prompt), rest)) as answer:
        tokens = await tokens_of(answer)
        await endpoint.until(lambda e: e.records[0].closed_at)
        for _ in range(3):
            with suppress(aiohttp.ClientError):
                tokens += rest.read()
        with pytest.raises(ProviderError, match="broke off"):
            await read_into(tokens, answer)
    assert "".join(tokens) == plain_text(20)


async def test_who_finds_nothing_is_woken_by_the_next_token(
    endpoint: ScriptedEndpoint, provider: OpenAICompatibleProvider
) -> None:
    async with aclosing(provider.stream(asking("scripted:?tokens=12&rate=25"))) as answer:
        lists = [item async for item in answer if isinstance(item, list)]
    assert [len(tokens) for tokens in lists] == [1] * 12
    assert "".join(token for tokens in lists for token in tokens) == plain_text(12)


async def test_no_silence_is_measured_while_nobody_would_hear(endpoint: ScriptedEndpoint) -> None:
    """Whoever reads may be away for longer than the model may be silent: while the storage is, say."""
    provider = OpenAICompatibleProvider(Endpoint(endpoint.url, "", "scripted"), connect_seconds=2, idle_seconds=0.3)
    async with aclosing(provider.stream(asking("scripted:?tokens=60&rate=50"))) as answer:
        text = "".join(await tokens_of(answer))
        await sent_by(endpoint, 50)
        assert text + await rest_of(answer) == plain_text(60)
    await provider.aclose()


async def test_silence_is_measured_again_when_somebody_listens(endpoint: ScriptedEndpoint) -> None:
    provider = OpenAICompatibleProvider(Endpoint(endpoint.url, "", "scripted"), connect_seconds=2, idle_seconds=0.3)
    async with aclosing(provider.stream(asking("scripted:?tokens=60&rate=50&fault=hang_after&at=10"))) as answer:
        with pytest.raises(ProviderError, match="has sent nothing for"):
            await rest_of(answer)
    await provider.aclose()


async def test_a_reset_is_met_by_who_reads_by_hand(
    endpoint: ScriptedEndpoint, provider: OpenAICompatibleProvider
) -> None:
    prompt = "scripted:?tokens=40&rate=200&fault=reset&at=20"
    async with aclosing(provider.stream(asking(prompt))) as answer:
        tokens = await tokens_of(answer)
        await endpoint.until(lambda e: e.records[0].closed_at)
        with pytest.raises(ProviderError, match="broke off"):
            await read_into(tokens, answer)
    assert "".join(tokens) == plain_text(20)


async def test_much_is_taken_from_the_kernel_though_nobody_asks(
    endpoint: ScriptedEndpoint, provider: OpenAICompatibleProvider
) -> None:
    async with aclosing(provider.stream(asking("scripted:?tokens=3000&rate=3000"))) as answer:
        text = "".join(await tokens_of(answer))
        before = told_bytes(provider)
        async with asyncio.timeout(10):
            while told_bytes(provider) == before:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert endpoint.records[0].finished_at is None  # the end would have told of it, too
        assert told_bytes(provider) - before >= WAKES_BYTES // 2  # of the body; the rest frames it
        assert text + await rest_of(answer) == plain_text(3000)


def test_a_connection_that_was_closed_meanwhile_is_not_read() -> None:
    """On uvloop, as served. Its descriptor may be another's by then."""

    async def close_and_read() -> list[bytes]:
        async with ScriptedEndpoint() as endpoint:
            provider = OpenAICompatibleProvider(Endpoint(endpoint.url, "", "m"), connect_seconds=2, idle_seconds=5)
            async with aclosing(provider.stream(asking("scripted:?tokens=200&rate=200"))) as answer:
                await anext(answer)
                await provider.aclose()
                await endpoint.until(lambda e: e.records[0].closed_at)
                with ExitStack() as closing:
                    others = []
                    for _ in range(10):
                        mine, theirs = map(closing.enter_context, socket.socketpair())
                        mine.setblocking(False)
                        theirs.send(b"of another")
                        others.append(mine)
                    with pytest.raises(ProviderError, match="broke off"):
                        await rest_of(answer)
                    return [each.recv(100) for each in others]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(close_and_read()) == [b"of another"] * 10


async def test_under_tls_the_text_is_the_same(
    certified: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_server, at_client = certified
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", at_client)
    async with ScriptedEndpoint(tls=at_server) as endpoint:
        provider = OpenAICompatibleProvider(Endpoint(endpoint.url, "", "scripted"), connect_seconds=5, idle_seconds=5)
        rest = Resting()
        async with aclosing(provider.stream(asking("scripted:?tokens=60&rate=200"), rest)) as answer:
            text = "".join(await tokens_of(answer))
            before = told_bytes(provider)
            await sent_by(endpoint, 30)
            assert told_bytes(provider) > before
            text += "".join(rest.read())
            assert text + await rest_of(answer) == plain_text(60)
        await provider.aclose()
