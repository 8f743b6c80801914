import json
from types import MappingProxyType

import pytest
from hypothesis import given

from events.core.event import encode_data, encode_text, storable
from tests.core.texts import any_text


@given(any_text)
def test_data_is_one_line_of_valid_json_whatever_the_text(text: str) -> None:
    data = encode_data({"text": text})
    assert len(data.splitlines()) == 1
    assert "\0" not in data
    assert json.loads(data.encode()) == {"text": storable(text)}


@given(any_text)
def test_a_text_alone_is_encoded_as_it_is_in_data(text: str) -> None:
    assert encode_data({"text": text}) == f'{{"text":{encode_text(text)}}}'


@given(any_text, any_text)
def test_batch_bounds_do_not_change_the_text(left: str, right: str) -> None:
    assert storable(left) + storable(right) == storable(left + right)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("a\0b", "a\ufffdb"),
        ("\ud83d", "\ufffd"),
        ("\ud83d\ude00", "\ufffd\ufffd"),
        ("\\u0000", "\\u0000"),
        ("😀\r\n", "😀\r\n"),
    ],
)
def test_nul_and_surrogates_alone_are_replaced(text: str, stored: str) -> None:
    assert storable(text) == stored
    assert json.loads(encode_data({"text": text})) == {"text": stored}


def test_keys_are_made_storable_too() -> None:
    assert json.loads(encode_data({"a\0\ud800": 1})) == {"a\ufffd\ufffd": 1}


def test_data_is_compact_and_readable() -> None:
    data = encode_data(MappingProxyType({"text": "שלום 😀", "position": 2, "usage": None}))
    assert data == '{"text":"שלום 😀","position":2,"usage":null}'


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_json_number_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        encode_data({"duration_seconds": number})
