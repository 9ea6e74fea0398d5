"""REST bodies as RapidJSON 1.1.0 reads them: what that library said of each of these."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rest import rapid_json
from serving.rest.json_parser import encode, parse_object
from serving.status import StatusError

COMMA = "Missing a comma or '}' after an object member. at offset: "
ELEMENT = "Missing a comma or ']' after an array element. at offset: "
ESCAPE = "Invalid escape character in string. at offset: "
QUOTE = "Missing a closing quotation mark in string. at offset: "
HEX = "Incorrect hex digit after \\u escape in string. at offset: "
PAIR = "The surrogate pair in string is invalid. at offset: "
BIG = "Number too big to be stored in double. at offset: "
VALUE = "Invalid value. at offset: "
EMPTY = "The document is empty. at offset: "

REFUSED = {
    rb"": "The document is empty",
    rb"  ": EMPTY + "2",
    b"\x00{}": EMPTY + "0",
    rb"{": "Missing a name for object member. at offset: 1",
    rb'{"a":1,}': "Missing a name for object member. at offset: 7",
    rb"{a:1}": "Missing a name for object member. at offset: 1",
    rb'{"a"': "Missing a colon after a name of object member. at offset: 4",
    rb'{"a" 1}': "Missing a colon after a name of object member. at offset: 5",
    rb'{"a":1 "b":2}': COMMA + "7",
    rb'{"a":1]': COMMA + "6",
    rb'{"a":01}': COMMA + "6",
    rb'{"a":truex}': COMMA + "9",
    rb'{"a":Infx}': COMMA + "8",
    rb'{"a":[1 2]}': ELEMENT + "8",
    rb'{"a":[1': ELEMENT + "7",
    rb'{"a":[1}': ELEMENT + "7",
    rb'{"a":[1,]}': VALUE + "8",
    rb'{"a":': VALUE + "5",
    rb'{"a":tru}': VALUE + "8",
    rb'{"a":nan}': VALUE + "6",
    rb'{"a":Infinit}': VALUE + "12",
    rb'{"a":-}': VALUE + "6",
    rb'{"a":+1}': VALUE + "5",
    rb"/**/{}": VALUE + "0",
    b'\xef\xbb\xbf{"a":x}': VALUE + "8",
    '{"é":x}'.encode(): VALUE + "6",
    rb'{"a":1.}': "Miss fraction part in number. at offset: 7",
    rb'{"a":1.e3}': "Miss fraction part in number. at offset: 7",
    rb'{"a":1e}': "Miss exponent in number. at offset: 7",
    rb'{"a":1e+}': "Miss exponent in number. at offset: 8",
    rb'{"a":[1.0,-1e400]}': BIG + "10",
    rb'{"a":0e999}': BIG + "5",
    rb'{"a":1' + b"0" * 309 + b"}": BIG + "5",
    rb'{"a":1e999999999999999999999}': BIG + "5",
    rb'{"a":x,"b":1e309}': VALUE + "5",
    b'{"a":"\t"}': ESCAPE + "6",
    rb'{"a":"\x"}': ESCAPE + "6",
    rb'{"a":"abc' + b"\\": ESCAPE + "9",
    rb'{"a":"abc': QUOTE + "9",
    b'{"a\x00":1}': QUOTE + "3",
    rb'{"a":"\u12g4"}': HEX + "6",
    rb'{"a":"\ud83d\u12"}': HEX + "6",
    rb'{"a":"\ud83d"}': PAIR + "6",
    rb'{"a":"\ud83d\u0041"}': PAIR + "6",
    rb'{"a":1} x': "The document root must not be followed by other values. at offset: 8",
}


@pytest.mark.parametrize("body", REFUSED)
def test_what_is_no_json_is_refused_with_the_reason_and_the_place(body):
    with pytest.raises(StatusError) as caught:
        parse_object(body)
    assert str(caught.value) == f"INVALID_ARGUMENT: JSON Parse error: {REFUSED[body]}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"Inf", math.inf),
        (b"-Inf", -math.inf),
        (b"-Infinity", -math.inf),
        (b"1e308", 1e308),
        (b"10e308", math.inf),
        (b"0.01e310", 1e308),
        (b"1e-400", 0.0),
        (b"1e-99999999999999999999", 0.0),
        (b"1" + b"0" * 308, 10**308),
        (b"-0", 0),
        (rb'"\u00e9\n\/\ud83d\ude00"', "é\n/😀"),
        (rb'"\ude00"', b"\xed\xb8\x80".decode("utf-8", "surrogateescape")),
        (b'"\xff"', b"\xff".decode("utf-8", "surrogateescape")),
        (b" [ ] ", []),
        (b'{"b":[null,true,false,{}]}', {"b": [None, True, False, {}]}),
    ],
)
def test_numbers_texts_and_lists_are_read_as_rapidjson_reads_them(text, value):
    assert parse_object(b'{"a":' + text + b"}") == {"a": value}


def test_minus_nan_is_nan():
    assert math.isnan(parse_object(b'{"a":-NaN}')["a"])


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xef\xbb", b"\xef"])
def test_byte_order_mark_is_skipped_and_what_follows_a_zero_byte_is_not_read(mark):
    assert parse_object(mark + b'{"a":1}\x00x') == {"a": 1}


@pytest.mark.parametrize("last", [b"2", b"Inf"])
def test_first_of_equal_keys_is_found_and_the_others_are_kept(last):
    found = parse_object(b'{"a":1,"b":[],"a":' + last + b"}")
    assert (found["a"], found.get("a"), set(found)) == (1, 1, {"a", "b"})
    assert list(found.items()) == [("a", 1), ("b", []), ("a", float(last))]


def test_too_deep_a_document_is_refused_whole_or_broken():
    for body in (b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", b'{"a":' + b"[" * 50_000):
        with pytest.raises(StatusError, match="nested too deeply"):
            parse_object(body)


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(documents, st.booleans(), st.sampled_from([None, 1]))
def test_both_parsers_read_what_the_standard_library_writes(document, is_ascii, indent):
    text = json.dumps(document, ensure_ascii=is_ascii, indent=indent)
    assert rapid_json.parse(text) == document
    assert parse_object(encode(f'{{"a":{text}}}')) == {"a": document}


@given(st.binary(max_size=40))
def test_any_bytes_are_an_object_or_a_refusal(body):
    try:
        assert isinstance(parse_object(body), dict)
    except StatusError as error:
        assert error.code.name == "INVALID_ARGUMENT"
