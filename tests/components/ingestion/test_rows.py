import hmac
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from components.ingestion import rows
from components.ingestion.folder import DataFile
from components.ingestion.rows import RowFault, parse_timestamp, row_parser
from tests.components.ingestion.helpers import data_options

INTERACTIONS = ("user_id", "item_id", "timestamp", "rating")
ITEMS = ("item_id", "title", "category", "brand", "description", "price", "colour", "size")


def parser(table, columns, key=None, **overrides):
    file = DataFile(table, 0, f"{table}.csv", "", tuple(columns))
    return row_parser(file, data_options(**overrides), key)


def fault(parse, *fields):
    with pytest.raises(RowFault) as caught:
        parse(list(fields))
    return caught.value.reason, caught.value.column


def test_interaction():
    parse = parser("interactions", INTERACTIONS)
    assert parse(["007", "42", "1291191960", "3.5"]) == ("42", ("007", 1291191960, 3.5, 0.0))


def test_interaction_without_ratings_is_a_positive():
    parse = parser("interactions", ("event", "timestamp", "item_id", "user_id"))
    assert parse(["view", "5", "i", "u"]) == ("i", ("u", 5, 1.0, 0.0))


@pytest.mark.parametrize(
    ("value", "expected"), [("0.25", 0.25), ("1", 1.0), ("1e-3", 1e-3), ("", 0.0), (" ", 0.0)]
)
def test_interaction_says_with_what_propensity_its_item_was_shown_or_nothing(value, expected):
    parse = parser("interactions", ("user_id", "item_id", "timestamp", "propensity"))
    assert parse(["u", "i", "5", value]) == ("i", ("u", 5, 1.0, expected))


@pytest.mark.parametrize("value", ["0", "-0.1", "1.01", "1e-300"])
def test_what_is_no_chance_above_0_is_no_propensity(value):
    parse = parser("interactions", ("user_id", "item_id", "timestamp", "propensity"))
    assert fault(parse, "u", "i", "5", value) == (rows.OUT_OF_RANGE, "propensity")
    assert fault(parse, "u", "i", "5", "often") == (rows.NOT_A_NUMBER, "propensity")


def test_item_with_further_columns_in_its_description():
    parse = parser("items", ITEMS)
    record = parse(["01", "Cup", "Kitchen", "Acme", "Blue rim.", "2.50", "red", " XL "])
    assert record == (
        "01",
        ("Cup", "Kitchen", "Acme", "Blue rim. colour: red. size: XL.", 2.5, None),
    )
    record = parse(["01", "", "", "", "", " ", "", "XL"])
    assert record == ("01", ("", "", "", "size: XL.", None, None))
    record = parse(["01", "", "", "", "Blue rim.", "", "", " "])
    assert record == ("01", ("", "", "", "Blue rim.", None, None))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("true", True),
        ("FALSE", False),
        (" 1", True),
        ("0", False),
        ("1.0", True),
        ("0.0", False),
        ("", None),
        (" ", None),
    ],
)
def test_item_says_whether_it_is_available_or_nothing(value, expected):
    parse = parser("items", ("item_id", "title", "available"))
    assert parse(["i", "Cup", value]) == ("i", ("Cup", "", "", "", None, expected))
    assert fault(parse, "i", "Cup", "perhaps") == ("neither true nor false", "available")


def test_user_profile_leaves_out_empty_values():
    parse = parser("users", ("age", "user_id", "zip_code", "occupation"))
    assert parse(["24", "u", "", "technician"]) == ("u", ("age: 24. occupation: technician.",))


def test_a_user_id_is_kept_only_where_it_can_be_a_pseudonym_already():
    parse = parser("users", ("user_id", "age"), key=b"key")

    def user(value):
        return parse([value, ""])[0]

    hashed = user("ann")
    assert user(f"hmac-sha256:{hashed}") == hashed
    for raw in ("", "anna@example.org", hashed[1:], f"{hashed}0", f"{hashed[1:]}g"):
        marked = f"hmac-sha256:{raw}"
        assert user(marked) == hmac.new(b"key", marked.encode(), "sha256").hexdigest()


def test_variant_group():
    assert parser("variant_groups", ("item_id", "group_id"))(["i", "g"]) == ("i", ("g",))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (("", "i", "1", "1"), (rows.EMPTY_ID, "user_id")),
        (("u", " \t", "1", "1"), (rows.EMPTY_ID, "item_id")),
        (("u", "i" * 257, "1", "1"), (rows.TOO_LONG, "item_id")),
        (("u\x07", "i", "1", "1"), ("control character", "user_id")),
        (("u", "i\nj", "1", "1"), ("control character", "item_id")),
        (("u", "i\udce9", "1", "1"), ("not UTF-8", "item_id")),
        (("u", "i", "yesterday", "1"), (rows.NOT_A_TIME, "timestamp")),
        (("u", "i", "", "1"), (rows.NOT_A_TIME, "timestamp")),
        (("u", "i", "10.06.2024", "1"), (rows.NOT_A_TIME, "timestamp")),
        (("u", "i", "2024-06-10 08:15 UTC", "1"), (rows.NOT_A_TIME, "timestamp")),
        (("u", "i", "2024 08:15", "1"), (rows.NOT_A_TIME, "timestamp")),
        (("u", "i", "inf", "1"), (rows.NOT_FINITE, "timestamp")),
        (("u", "i", "-1", "1"), (rows.TIME_OUT_OF_RANGE, "timestamp")),
        (("u", "i", "1291191960000", "1"), (rows.TIME_OUT_OF_RANGE, "timestamp")),
        (("u", "i", "4102444800", "1"), (rows.TIME_OUT_OF_RANGE, "timestamp")),
        (("u", "i", "1969-12-31T23:59:59Z", "1"), (rows.TIME_OUT_OF_RANGE, "timestamp")),
        (("u", "i", "9999-12-31T24:00:00", "1"), (rows.TIME_OUT_OF_RANGE, "timestamp")),
        (("u", "i", "1", ""), (rows.NOT_A_NUMBER, "rating")),
        (("u", "i", "1", "four"), (rows.NOT_A_NUMBER, "rating")),
        (("u", "i", "1", "1_0"), (rows.NOT_A_NUMBER, "rating")),
        (("u", "i", "1", "٣"), (rows.NOT_A_NUMBER, "rating")),
        (("u", "i", "1", "nan"), (rows.NOT_FINITE, "rating")),
        (("u", "i", "1", "1e39"), (rows.OUT_OF_RANGE, "rating")),
        (("u", "i", "1", "-1e39"), (rows.OUT_OF_RANGE, "rating")),
        (("u", "i", "1", "0.5"), (rows.OUTSIDE_SCALE, "rating")),
        (("u", "i", "1", "5.5"), (rows.OUTSIDE_SCALE, "rating")),
        (("u", "i", "1"), (rows.COLUMN_COUNT, "")),
        (("u", "i", "1", "1", ""), (rows.COLUMN_COUNT, "")),
    ],
)
def test_fault_of_an_interaction(fields, expected):
    assert (
        fault(parser("interactions", INTERACTIONS, rating_min=1, rating_max=5), *fields) == expected
    )


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("title", "x" * 4001, rows.TOO_LONG),
        ("colour", "x" * 4001, rows.TOO_LONG),
        ("title", "bell\x07", "control character"),
        ("brand", "smart \x93quotes\x94", "control character"),
        ("description", "caf\udce9", "not UTF-8"),
        ("price", "£3", rows.NOT_A_NUMBER),
        ("price", "1,50", rows.NOT_A_NUMBER),
        ("price", "inf", rows.NOT_FINITE),
        ("price", "-0.01", rows.OUT_OF_RANGE),
    ],
)
def test_fault_of_an_item(column, value, reason):
    fields = [value if name == column else "1" for name in ITEMS]
    assert fault(parser("items", ITEMS), *fields) == (reason, column)


def test_an_id_and_a_text_may_be_as_long_as_is_allowed():
    parse = parser("items", ("item_id", "title"), max_text_length=16)
    assert parse(["i" * 256, "x" * 16]) == ("i" * 256, ("x" * 16, "", "", "", None, None))
    assert fault(parse, "i", "x" * 17) == (rows.TOO_LONG, "title")


def test_malformed_quoting_is_a_fault():
    with pytest.raises(RowFault, match="malformed quoting"):
        parser("items", ITEMS)(None)


@pytest.mark.parametrize(
    "title",
    [
        "赤いマグカップ",
        "كوب أحمر \u200f",
        "👩\u200d🍳 apron",
        "two\r\nlines\tand tab",
        "क्\u200dष",
        "",
    ],
)
def test_text_of_every_script_is_kept_as_it_is(title):
    assert parser("items", ("item_id", "title"))(["i", title])[1][0] == title


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("874724710.9", 874724710),
        ("8.7e8", 870000000),
        ("1970-01-02", 86400),
        ("1970-01-01T01:00:00", 3600),
        ("1970-01-01 01:00", 3600),
        ("1970-01-01T01:00:00Z", 3600),
        ("1970-01-01T01:00:00.999+01:00", 0),
        ("1970-01-01T00:00:00-0130", 5400),
        # Not read by pydantic: PostgreSQL's offsets, the basic form, the end of a day, a week.
        ("1970-01-02 01:15:00+00", 90900),
        ("1970-01-02 01:15:00.5+00", 90900),
        ("1970-01-02T01:15:00+01", 87300),
        ("19700102T011500Z", 90900),
        ("19700102T0115-0130", 96300),
        ("1970-01-01T24:00:00", 86400),
        ("1970-W01-5", 86400),
        (" 1970-01-02T01:15:00Z", 90900),
        ("1970-01-02 ", 86400),
        # Digits alone stay unix seconds.
        ("19700102", 19700102),
        (" 19700102 ", 19700102),
    ],
)
def test_timestamp(value, seconds):
    assert parse_timestamp(value) == seconds


def test_pseudonym_is_the_keyed_hash_and_the_same_in_both_tables():
    # RFC 4231, test case 2.
    digest = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    user = "what do ya want for nothing?"
    _, (in_interactions, *_) = parser("interactions", INTERACTIONS, b"Jefe")([user, "i", "1", "1"])
    in_users, _ = parser("users", ("user_id", "age"), b"Jefe")([user, "3"])
    assert in_interactions == in_users == digest


# Fields as the readers give them: any text, or bytes that were not UTF-8.
FIELD = st.one_of(
    st.text(max_size=20),
    st.binary(max_size=8).map(lambda b: b.decode("utf-8", "surrogateescape")),
    st.floats().map(str),
    st.integers().map(str),
    st.datetimes().map(lambda t: t.isoformat()),
)


@given(st.sampled_from(["interactions", "items", "users", "variant_groups"]), st.data())
@settings(max_examples=200)
def test_any_row_is_a_usable_record_or_a_named_fault(table, data):
    columns = {
        "interactions": INTERACTIONS,
        "items": ITEMS,
        "users": ("user_id", "age", "town"),
        "variant_groups": ("item_id", "group_id"),
    }[table]
    fields = data.draw(st.lists(FIELD, min_size=len(columns), max_size=len(columns)))
    try:
        key, values = parser(table, columns, max_text_length=16)(fields)
    except RowFault as fault:
        reasons = {v for n, v in vars(rows).items() if n.isupper() and isinstance(v, str)}
        assert fault.reason in reasons | {"not UTF-8", "control character"}
        assert fault.column in columns
        return
    assert key and key == fields[columns.index("user_id" if table == "users" else "item_id")]
    for value in (key, *values):
        if isinstance(value, str):
            value.encode("utf-8")
            assert "\0" not in value
        elif value is not None:
            assert math.isfinite(value)
    if table == "interactions":
        assert 0 <= values[1] < 2**32


@given(st.text(max_size=30))
@example("9999-12-31T23:59:59-14:00")
@example("0001-01-01")
@example("\udc80")
@example("1e400")
@example("9999-12-31T24:00-14")
def test_any_timestamp_is_in_range_or_a_fault(value):
    try:
        assert 0 <= parse_timestamp(value) < rows.END_OF_TIME
    except RowFault as fault:
        assert fault.column == "timestamp"
