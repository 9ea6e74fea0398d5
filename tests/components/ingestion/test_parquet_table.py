import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingestion.folder import open_folder
from components.ingestion.parquet_table import read_parquet, row_groups
from components.ingestion.rows import RowFault, parse_timestamp, row_parser
from tests.components.ingestion.helpers import data_options, write_csv


@pytest.fixture
def folders(tmp_path):
    """The same data as csv, csv.gz and Parquet."""
    interactions = ("user_id,item_id,rating,timestamp", [7, 7, 8], ["007", "008", "009"])
    times = [5, 86400, 90000]
    items = "item_id,title,price,stock,released"
    for suffix in (".csv", ".csv.gz"):
        folder = tmp_path / suffix
        columns, users, ids = interactions
        rows = zip(users, ids, [1, 2.5, 4], times, strict=True)
        write_csv(folder / f"interactions{suffix}", columns, *rows)
        titles, prices, stock = ["Ä", "B", ""], [1.5, "", 3.0], [True, False, True]
        shelf = zip(ids, titles, prices, stock, ["2011-12-01"] * 3, strict=True)
        write_csv(folder / f"items{suffix}", items, *shelf)
    folder = tmp_path / ".parquet"
    folder.mkdir()
    pd.DataFrame(
        {
            "user_id": users,
            "item_id": pd.Categorical(ids),
            "rating": [1, 2.5, 4],
            "timestamp": pd.to_datetime(times, unit="s"),
        }
    ).to_parquet(folder / "interactions.parquet")
    pd.DataFrame(
        {
            "item_id": ids,
            "title": ["Ä", "B", None],
            "price": [1.5, None, 3.0],
            "stock": stock,
            "released": [pd.Timestamp("2011-12-01").date()] * 3,
        }
    ).to_parquet(folder / "items.parquet")
    return [tmp_path / name for name in (".csv", ".csv.gz", ".parquet")]


def test_parquet_csv_and_gzip_give_the_same_records(folders):
    def records(folder):
        found = []
        for file in open_folder(folder).files:
            parse = row_parser(file, data_options(), None)
            found += [(file.table, row.number, parse(row.fields)) for row in file.rows()]
        return found

    plain, zipped, parquet = map(records, folders)
    assert plain == zipped == parquet
    assert plain[0] == (
        "items",
        1,
        ("007", ("Ä", "", "", "stock: True. released: 2011-12-01.", 1.5, None)),
    )
    assert plain[-1] == ("interactions", 3, ("009", ("8", 90000, 4.0, 0.0)))


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("Europe/Berlin", "1970-01-01T02:00:00+01:00"),
        ("+01:00", "1970-01-01T02:00:00+01:00"),
        ("Z", "1970-01-01T01:00:00+00:00"),
        ("Mars/Olympus", "1970-01-01T01:00:00+00:00"),
    ],
)
def test_times_with_a_zone_and_below_a_microsecond(tmp_path, zone, text):
    path = str(tmp_path / "t.parquet")
    zoned = pa.array([3600 * 10**9 + 1, None], pa.timestamp("ns", zone))
    pq.write_table(pa.table({"t": zoned}), path, version="2.6")
    header, *rows = read_parquet(path)
    assert header.fields == ["t"] and [row.fields for row in rows] == [[text], [""]]
    assert parse_timestamp(text) == 3600


SECONDS_AS_MILLISECONDS = 1_718_007_300_000  # year 56411 where they are read as seconds


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (pa.timestamp("ms"), SECONDS_AS_MILLISECONDS * 1000),
        (pa.timestamp("us"), SECONDS_AS_MILLISECONDS * 10**6),
        (pa.timestamp("ms", "Europe/Berlin"), SECONDS_AS_MILLISECONDS * 1000),
        (pa.timestamp("ms", "Z"), SECONDS_AS_MILLISECONDS * 1000),
        # As microseconds in 64 bits it would wrap around to the 2nd of January 1970.
        (pa.timestamp("ms"), 86400 * 1000 + 2**61),
        (pa.timestamp("ms"), -(2**62)),
        (pa.date32(), 2**30),
        (pa.date32(), -(2**30)),
        (pa.date64(), 86_400_000 * 10**9),
        # In UTC a time of this calendar, in Berlin already one of the year 10000.
        (pa.timestamp("ms", "Europe/Berlin"), 253_402_300_799_000),
    ],
)
def test_time_outside_the_calendar_is_out_of_range_and_its_neighbours_are_read(tmp_path, kind, raw):
    path = str(tmp_path / "t.parquet")
    integers = pa.array([0, raw, None], pa.int32() if kind == pa.date32() else pa.int64())
    pq.write_table(pa.table({"timestamp": integers.view(kind)}), path)
    _, *rows = read_parquet(path)
    (first,), (absurd,), (absent,) = (row.fields or [] for row in rows)
    assert parse_timestamp(first) == 0 and absent == ""
    with pytest.raises(RowFault, match="timestamp out of range"):
        parse_timestamp(absurd)


def test_bytes_nulls_and_rows_across_row_groups(tmp_path):
    path = str(tmp_path / "t.parquet")
    values = [None, b"caf\xe9", *[str(i).encode() for i in range(9000)]]
    table = pa.table({"b": pa.array(values, pa.binary()), "n": pa.nulls(len(values))})
    pq.write_table(table, path, row_group_size=1000)
    rows = list(read_parquet(path))[1:]
    assert rows[0].fields == ["", ""] and rows[1].fields == ["caf\udce9", ""]
    assert [row.number for row in rows] == list(range(1, len(values) + 1))
    assert rows[-1].fields == ["8999", ""]


def test_row_groups_that_are_read_apart_are_the_rows_of_the_file(tmp_path):
    path = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"n": range(25)}), path, row_group_size=10)
    header, *rows = read_parquet(path)
    apart = [list(read_parquet(path, group)) for group in range(row_groups(path))]
    assert [len(part) for part in apart] == [11, 11, 6]
    assert all(part[0] == header for part in apart)
    assert [row for part in apart for row in part[1:]] == rows


def test_file_without_row_groups_has_a_header_and_nothing_to_read_apart(tmp_path):
    path = str(tmp_path / "t.parquet")
    schema = pa.schema([("n", pa.int64())])
    pq.ParquetWriter(path, schema).close()
    assert row_groups(path) == 0
    assert [row.fields for row in read_parquet(path)] == [["n"]]
