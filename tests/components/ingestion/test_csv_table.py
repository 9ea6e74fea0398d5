import csv
import io
import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.ingestion.csv_table import NUL, read_csv
from components.ingestion.folder import DataFile
from components.ingestion.rows import RowFault, row_parser
from tests.components.ingestion.helpers import data_options


def read(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_csv(str(path)))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "table.csv"


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(st.lists(st.lists(TEXT, min_size=3, max_size=3)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_what_a_csv_writer_wrote_is_read_back(path, rows):
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([["a", "b", "c"], *rows])
    found = read(path, buffer.getvalue())
    assert [row.fields for row in found[1:]] == rows
    assert [row.number for row in found] == list(range(len(rows) + 1))


@given(st.binary(max_size=80))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_no_bytes_break_the_reader_and_no_line_is_lost(path, content):
    found = read(path, b"a,b\n" + content)
    assert found[0].fields == ["a", "b"]
    assert [row.number for row in found] == list(range(len(found)))
    # A line is part of a row, or blank.
    lines = (b"a,b\n" + content).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    starts = [row.line for row in found]
    assert all(start < after for start, after in itertools.pairwise(starts))
    assert starts[-1] <= len(lines)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system(path, end):
    found = read(path, end.join(["a,b", "1,2", "", "3,4", ""]))
    assert [(r.number, r.line, r.fields) for r in found[1:]] == [
        (1, 2, ["1", "2"]),
        (2, 4, ["3", "4"]),
    ]


def test_byte_order_mark_is_not_part_of_the_first_column(path):
    assert read(path, b"\xef\xbb\xbfa,b\n1,2\n")[0].fields == ["a", "b"]


def test_quoted_newline_is_part_of_its_field(path):
    found = read(path, 'a,b\n1,"two\r\nlines"\n3,4\n')
    assert [(r.number, r.line, r.fields) for r in found[1:]] == [
        (1, 2, ["1", "two\r\nlines"]),
        (2, 4, ["3", "4"]),
    ]


@pytest.mark.parametrize(
    "lines",
    [
        ['1,"never closed', "2,x", "3,y"],  # to the end of the file
        ['1,"never closed', '2,"quoted"', "3,y"],  # to the next opening quote
        ['1,"never closed', '2,"",z', "3,y"],  # to an empty field
        ['1,"never closed', "2,x", '3,"y"'],
    ],
)
def test_stray_quote_costs_one_row_and_not_those_after_it(path, lines):
    found = read(path, "\n".join(["a,b", *lines, ""]))
    assert [(row.number, row.line) for row in found] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert found[1].fields is None
    assert found[3].fields == ["3", "y"]


PYTHONS_LIMIT = 131_072


@pytest.mark.parametrize("title", ["x" * (PYTHONS_LIMIT + 1), "line\n" * PYTHONS_LIMIT])
def test_field_beyond_pythons_limit_is_one_row_with_over_long_text(path, title):
    columns = ("item_id", "title")
    _, long, after = read(path, f'{",".join(columns)}\n1,"{title}"\n2,y\n')
    assert long.fields == ["1", title] and after.fields == ["2", "y"]
    parse = row_parser(DataFile("items", 0, "items.csv", str(path), columns), data_options(), None)
    with pytest.raises(RowFault) as caught:
        parse(long.fields)
    assert (caught.value.reason, caught.value.column) == ("too long", "title")


def test_field_beyond_the_readers_limit_costs_one_row(path):
    found = read(path, "a,b\n1," + "x" * (2**24 + 1) + "\n2,y\n")
    assert [row.fields for row in found] == [["a", "b"], None, ["2", "y"]]


def test_quote_that_is_open_beyond_the_readers_limit_costs_one_row(path):
    rows = [[str(number), "x" * 4000] for number in range(2**24 // 4000 + 1)]
    found = read(path, 'a,b\n1,"open\n' + "".join(f"{','.join(row)}\n" for row in rows))
    assert [row.fields for row in found] == [["a", "b"], None, *rows]


def test_invalid_utf8_and_nul_stay_visible_in_their_field(path):
    found = read(path, b"a,b\n1,caf\xe9\n2,x\0y\n")
    assert [row.fields for row in found[1:]] == [["1", "caf\udce9"], ["2", f"x{NUL}y"]]


def test_lines_that_a_stray_quote_joined_to_a_row_of_another_width_are_read_one_by_one(path):
    found = read(path, 'x,y,z\na,"open,1\nb,two",2,3\nc,d,e\n')
    assert [(row.number, row.line, row.fields) for row in found[1:]] == [
        (1, 2, None),
        (2, 3, ["b", 'two"', "2", "3"]),
        (3, 4, ["c", "d", "e"]),
    ]
