"""The servers that other tests rely on behave as those tests need."""

from pathlib import Path

import psycopg
import pytest
import redis

from tests.server_process import processes_of
from tests.services import PostgresServer, RedisServer

pytestmark = pytest.mark.services


def test_redis_comes_back_empty_at_the_same_address(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("a", 1)
        with redis_server.away(), pytest.raises(redis.ConnectionError):
            client.ping()
        assert client.get("a") is None


def test_frozen_redis_holds_connections_and_answers_nobody(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url, socket_timeout=0.2) as client:
        client.ping()
        with redis_server.frozen(), pytest.raises(redis.TimeoutError):
            client.ping()
        assert client.ping()


def test_postgres_keeps_what_was_committed_before_it_was_killed(postgres_server: PostgresServer) -> None:
    url = postgres_server.url("kept")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE t (n int)")
        connection.execute("INSERT INTO t VALUES (1)")
        connection.commit()
        with postgres_server.away(), pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with psycopg.connect(postgres_server.url("kept")) as connection:
        assert connection.execute("SELECT n FROM t").fetchall() == [(1,)]


def test_each_postgres_database_stands_alone(postgres_server: PostgresServer) -> None:
    with psycopg.connect(postgres_server.url("one")) as one, psycopg.connect(postgres_server.url("two")) as two:
        one.execute("CREATE TABLE t ()")
        assert two.execute("SELECT to_regclass('t')").fetchone() == (None,)


def test_ended_servers_leave_no_process_and_no_folder() -> None:
    with RedisServer() as server:
        assert server.process is not None
        pids = processes_of(server.process.pid)
    assert not server.folder.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_missing_server_is_a_failure_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(pytest.fail.Exception, match="apt-get install redis-server"), RedisServer():
        pass
