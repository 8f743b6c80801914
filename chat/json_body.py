"""JSON from strangers: whatever is wrong with it is their fault, and said so."""

from typing import Any

import msgspec

from chat.exceptions import InvalidRequest, UnsupportedMediaType


def read_json(body: bytes, content_type: str) -> Any:
    """The body's value. NaN, lone surrogates, numbers beyond all use and bottomless nesting are not JSON here.

    Raises UnsupportedMediaType unless it calls itself JSON (a cross-site form cannot), else InvalidRequest.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise InvalidRequest("The JSON is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}") from None
