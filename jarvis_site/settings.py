"""Everything the environment decides, read once, here. Wrong values stop the start: see `checks.py` of each app."""

import os
from pathlib import Path
from typing import Any, TypeVar

import environ
from django.core.exceptions import ImproperlyConfigured

from events.deadline import Connection
from jarvis_site import channel_layers, compiled
from jarvis_site.secret_key import kept_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent
if (BASE_DIR / ".env").is_file():
    environ.Env.read_env(BASE_DIR / ".env")  # never overrides what the environment says already


Number = TypeVar("Number", int, float)


# Whatever is read, an empty value is as good as none. Not by django-environ, to which "$x" is the name of another one.
def _text(name: str, default: str) -> str:
    return os.environ.get(name, "") or default


def _list(name: str, default: list[str]) -> list[str]:
    return [part.strip() for part in _text(name, "").split(",") if part.strip()] or default


def _positive_float(name: str, default: float) -> float:
    return _positive(name, float, default)


def _positive_int(name: str, default: int) -> int:
    return _positive(name, int, default)


def _positive(name: str, kind: type[Number], default: Number) -> Number:
    value = _number(name, kind, default)
    if not 0 < value < float("inf"):
        raise ImproperlyConfigured(f"{name}={value} must be above 0; leave it out for {default}")
    return value


def _number(name: str, kind: type[Number], default: Number) -> Number:
    text = _text(name, "")
    if text == "":
        return default
    try:
        return kind(text)
    except ValueError:
        raise ImproperlyConfigured(f"{name}={text!r} is no number: give one, or leave it out for {default}") from None


def _boolean(name: str, default: bool) -> bool:
    text = _text(name, "").strip().lower()
    if text in ("", "true", "1", "yes", "on", "false", "0", "no", "off"):
        return default if text == "" else text in ("true", "1", "yes", "on")
    raise ImproperlyConfigured(f"{name}={text!r} is neither true nor false")


# --- where and how -------------------------------------------------------------------------------------------------
HOST = _text("HOST", "127.0.0.1")
PORT = _number("PORT", int, 8000)
DEBUG = _boolean("DEBUG", False)
DATA_DIR = Path(_text("JARVIS_DATA_DIR", "") or BASE_DIR / "var").resolve()
DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)  # what people wrote is in it
SECRET_KEY = _text("SECRET_KEY", "") or kept_secret_key(DATA_DIR)
ALLOWED_HOSTS = _list("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = _list("CSRF_TRUSTED_ORIGINS", [])
LOG_LEVEL = _text("LOG_LEVEL", "INFO").upper()
LOG_FORMAT = _text("LOG_FORMAT", "logfmt").lower()
LOG_MAX_BYTES = _positive_int("LOG_MAX_BYTES", 10_000_000)  # then the file is rotated; five are kept
METRICS_TOKEN = _text("METRICS_TOKEN", "")  # empty: /metrics is told to this machine only
METRICS_PORT = _number("METRICS_PORT", int, 0)  # 0: /metrics is at PORT, with everything else
LOOP_LAG_WARNING_SECONDS = _positive_float("LOOP_LAG_WARNING_SECONDS", 0.1)  # people notice a page that is later
SHUTDOWN_GRACE_SECONDS = _positive_float("SHUTDOWN_GRACE_SECONDS", 10.0)
MAX_CONNECTIONS = _positive_int("MAX_CONNECTIONS", 10_000)  # of one process; beyond: 503
REQUEST_TIMEOUT_SECONDS = _positive_float("REQUEST_TIMEOUT_SECONDS", 30.0)  # for headers and body to come in
SEND_TIMEOUT_SECONDS = _positive_float("SEND_TIMEOUT_SECONDS", 10.0)  # a client that takes nothing for so long is cut

# --- the product ---------------------------------------------------------------------------------------------------
CHAT_PROVIDER_URL = _text("CHAT_PROVIDER_URL", "")  # empty: the embedded model
CHAT_PROVIDER_KEY = _text("CHAT_PROVIDER_KEY", "")
CHAT_MODEL = _text("CHAT_MODEL", "")
CHAT_MODEL_PATH = _text("CHAT_MODEL_PATH", "")
CHAT_ALLOW_ANONYMOUS = _boolean("CHAT_ALLOW_ANONYMOUS", True)
CHAT_IF_BUSY = _text("CHAT_IF_BUSY", "interrupt")
CHAT_INTERRUPT_WAIT_SECONDS = _positive_float("CHAT_INTERRUPT_WAIT_SECONDS", 2.0)
CHAT_QUEUE_LIMIT = _positive_int("CHAT_QUEUE_LIMIT", 10)
CHAT_MAX_BODY_BYTES = _positive_int("CHAT_MAX_BODY_BYTES", 1 << 20)
CHAT_CONTEXT_TOKENS = _positive_int("CHAT_CONTEXT_TOKENS", 1500)
CHAT_MAX_TOKENS = _positive_int("CHAT_MAX_TOKENS", 512)
CHAT_SYSTEM_PROMPT = _text("CHAT_SYSTEM_PROMPT", "You are Jarvis, a helpful assistant.")
CHAT_PROVIDER_CONNECT_SECONDS = _positive_float("CHAT_PROVIDER_CONNECT_SECONDS", 5.0)
CHAT_PROVIDER_IDLE_SECONDS = _positive_float("CHAT_PROVIDER_IDLE_SECONDS", 60.0)
CHAT_UPKEEP_SECONDS = _positive_float("CHAT_UPKEEP_SECONDS", 60.0)  # how often old rows are looked for
CHAT_MAX_STREAMS = _positive_int("CHAT_MAX_STREAMS", 2000)  # running in one process; beyond: 503 overloaded
CHAT_MAX_SEARCHES = _positive_int("CHAT_MAX_SEARCHES", 20)  # running or waiting in one process; beyond: 503

EVENTS_FLUSH_INTERVAL_SECONDS = _positive_float("EVENTS_FLUSH_INTERVAL_SECONDS", 0.075)
EVENTS_FLUSH_LONGEST_SECONDS = _positive_float("EVENTS_FLUSH_LONGEST_SECONDS", 0.2)
EVENTS_FLUSH_BYTES = _positive_int("EVENTS_FLUSH_BYTES", 1024)
EVENTS_MAX_PENDING_BYTES = _positive_int("EVENTS_MAX_PENDING_BYTES", 64 << 10)
EVENTS_MAX_CONNECTION_BYTES = _positive_int("EVENTS_MAX_CONNECTION_BYTES", 1 << 20)
EVENTS_MAX_CONNECTION_SECONDS = _positive_float("EVENTS_MAX_CONNECTION_SECONDS", 900.0)
EVENTS_HEARTBEAT_SECONDS = _positive_float("EVENTS_HEARTBEAT_SECONDS", 15.0)
EVENTS_STORAGE_TIMEOUT_SECONDS = _positive_float("EVENTS_STORAGE_TIMEOUT_SECONDS", 10.0)
EVENTS_RETENTION_SECONDS = _positive_float("EVENTS_RETENTION_SECONDS", 600.0)
EVENTS_LOG_MAX_EVENTS = _positive_int("EVENTS_LOG_MAX_EVENTS", 10_000)
EVENTS_CHANNEL_CAPACITY = _positive_int("EVENTS_CHANNEL_CAPACITY", 10_000)  # one carries a process's sessions
EVENTS_MAX_VIEWERS = _positive_int("EVENTS_MAX_VIEWERS", 5000)  # of one process; beyond: 503 overloaded
EVENTS_MAX_ANNOUNCED_BYTES = _positive_int("EVENTS_MAX_ANNOUNCED_BYTES", 32 << 20)
EVENTS_MAX_QUEUED_BYTES = _positive_int("EVENTS_MAX_QUEUED_BYTES", 256 << 10)
EVENTS_COMPILED = _boolean("EVENTS_COMPILED", True)
IS_COMPILED = EVENTS_COMPILED and compiled.use()

# --- Django --------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "jarvis_site",  # before daphne: its runserver has our server
    "daphne",  # before staticfiles, whose runserver it replaces
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "ninja",
    "events",
    "chat",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "jarvis_site.urls"
ASGI_APPLICATION = "jarvis_site.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASE_URL = _text("DATABASE_URL", "") or f"sqlite:///{DATA_DIR / 'jarvis.sqlite3'}"
if not DATABASE_URL.startswith(("sqlite://", "postgres://", "postgresql://")):
    raise ImproperlyConfigured("DATABASE_URL must be postgres://USER:PASSWORD@HOST:PORT/NAME or sqlite:///FILE")
DATABASE_CONNECTIONS = _positive_int("DATABASE_CONNECTIONS", 20)  # of one process, to PostgreSQL
DATABASES: dict[str, dict[str, Any]] = {"default": environ.Env.db_url_config(DATABASE_URL)}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # IMMEDIATE: the default upgrades a read lock and loses 392 of 400 concurrent transactions.
        "transaction_mode": "IMMEDIATE",
        "timeout": 5,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    DATABASES["default"]["CONN_MAX_AGE"] = None
    DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}  # threads need a file
else:
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True  # the pool tries a connection before it hands it out
    DATABASES["default"]["OPTIONS"] = {
        # Eleven threads have one each (log: writer, 4 readers; chat: 4, search; readiness); the rest is for requests.
        # Short timeouts, as the pool pauses between its attempts twice as long each time: they begin anew.
        "pool": {
            "min_size": 1,
            "max_size": DATABASE_CONNECTIONS,
            "timeout": 5,
            "reconnect_timeout": 2,
            "connection_class": Connection,
        },
        "connect_timeout": 3,
        "keepalives_idle": 5,  # a database that vanished without a word is noticed in ten seconds
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = _text("REDIS_URL", "")
if REDIS_URL and not REDIS_URL.startswith(("redis://", "rediss://", "unix://")):
    raise ImproperlyConfigured("REDIS_URL must be redis://HOST:PORT, rediss://HOST:PORT or unix://SOCKET")
REDIS_LAYER = _text("REDIS_LAYER", "pubsub").lower()
if REDIS_LAYER not in channel_layers.KINDS:
    raise ImproperlyConfigured(f"REDIS_LAYER={REDIS_LAYER!r} is neither pubsub nor core; leave it out for pubsub")
CHANNEL_LAYERS = (
    channel_layers.on_redis(REDIS_LAYER, REDIS_URL, EVENTS_CHANNEL_CAPACITY, EVENTS_MAX_CONNECTION_SECONDS)
    if REDIS_URL
    else channel_layers.in_process(EVENTS_CHANNEL_CAPACITY)
)

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
SERVESTATIC_USE_FINDERS = True  # no collectstatic needed before the first request
LOGIN_URL = "login"
CSRF_FAILURE_VIEW = "chat.views.csrf_failure"

SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = _boolean("HTTPS", False)
# Told by the proxy, which overwrites it (setup/nginx/); without this, a redirect to https would never end.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SESSION_COOKIE_SECURE else None
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]  # asked by machines, past the proxy
SECURE_HSTS_SECONDS = 31_536_000 if SESSION_COOKIE_SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SESSION_COOKIE_SECURE
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = CHAT_MAX_BODY_BYTES
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LOGGING_CONFIG = "jarvis_site.logging.configure"
LOGGING = {"level": LOG_LEVEL, "format": LOG_FORMAT, "directory": DATA_DIR / "logs", "max_bytes": LOG_MAX_BYTES}
