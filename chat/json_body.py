"""JSON from strangers: everything that would trouble the databases or the model is refused here, with a 400."""

from typing import Any

import msgspec

from chat.exceptions import InvalidRequest, UnsupportedMediaType

_MAX_DEPTH = 32
_MAX_INTEGER = 2**63 - 1  # what both databases hold


def read_json(body: bytes, content_type: str) -> Any:
    """The body's value: no NaN, NUL or lone surrogate in it, integers of 64 bits, at most 32 levels deep.

    Raises UnsupportedMediaType unless it calls itself JSON (a cross-site form cannot), else InvalidRequest.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise InvalidRequest("The JSON is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}") from None
    _check(value)
    return value


def _check(value: Any) -> None:
    waiting: list[tuple[Any, str | None, int]] = [(value, None, 1)]
    while waiting:
        item, field, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            raise InvalidRequest("The JSON is nested too deeply.", field=field)
        if isinstance(item, str) and "\0" in item:
            raise InvalidRequest("Text must not contain the character NUL.", field=field)
        if isinstance(item, int) and abs(item) > _MAX_INTEGER:
            raise InvalidRequest("The number is too large.", field=field)
        if isinstance(item, list):
            waiting.extend((each, field, depth + 1) for each in item)
        elif isinstance(item, dict):
            for key, each in item.items():
                name = field if field is not None else key[:100]
                waiting += ((key, name, depth + 1), (each, name, depth + 1))
