"""JSON from strangers: whatever is wrong with it is their fault, and said so."""

import re
from typing import Any

import msgspec

from chat.exceptions import InvalidRequest, UnsupportedMediaType

# Of a pair's first half with less than a second half behind it msgspec says that the input was truncated.
_ALONE_AT_THE_END = re.compile(rb"(?<!\\)\\u[dD][89abAB][0-9a-fA-F]{2}.{0,5}\Z", re.DOTALL)


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
        what = "a surrogate is alone" if _ALONE_AT_THE_END.search(body[-12:]) else error
        raise InvalidRequest(f"The body is not valid JSON: {what}") from None
