"""Redis and PostgreSQL, run privately: on 127.0.0.1, all of it in one folder. For `make cluster` and the tests."""

from pathlib import Path

import psycopg
from psycopg import sql

POSTGRES_USER = "postgres"  # of the machine: `initdb` refuses root; and of the database
POSTGRES_PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)  # Debian has them in no PATH


def redis_command(redis: str, port: int, folder: Path) -> list[str]:
    """Without persistence: nothing in it needs to last."""
    address = ["--bind", "127.0.0.1", "--port", str(port)]
    return [redis, *address, "--save", "", "--appendonly", "no", "--dir", str(folder)]


def initdb_command(initdb: str, data: Path) -> list[str]:
    form = [f"--username={POSTGRES_USER}", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    return [initdb, "--pgdata", str(data), *form]


def postgres_command(postgres: str, data: Path, port: int) -> list[str]:
    """Its Unix socket lies beside the data."""
    settings = ["listen_addresses=127.0.0.1", f"unix_socket_directories={data.parent}", "max_connections=200"]
    options = [word for setting in settings for word in ("-c", setting)]
    return [postgres, "-D", str(data), "-p", str(port), *options]


def database_url(port: int, database: str) -> str:
    return f"postgres://{POSTGRES_USER}@127.0.0.1:{port}/{database}"


def make_database(port: int, database: str) -> str:
    """Its address; it is made empty if it does not exist."""
    with psycopg.connect(database_url(port, "postgres"), autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    return database_url(port, database)


def accepts_connections(port: int) -> bool:
    """Whether PostgreSQL does; its port is open some time before."""
    try:
        psycopg.connect(database_url(port, "postgres"), connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
