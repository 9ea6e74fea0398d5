import gzip
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from components.ingestion.folder import fingerprint, open_folder, open_table
from models.errors import BadInput
from tests.components.ingestion.helpers import write_csv, write_shop


@pytest.fixture
def shop(tmp_path):
    return write_shop(tmp_path / "shop")


def refused(folder, *words):
    """The message of the refusal; it must hold all the words."""
    with pytest.raises(BadInput) as caught:
        open_folder(folder)
    message = str(caught.value)
    assert caught.value.exit_code == 2
    for word in words:
        assert word in message, message
    return message


def test_files_columns_and_labels(shop):
    write_csv(shop / "users.csv.gz", "user_id, age", ("ann", 24))
    write_csv(shop / "unrelated.csv", "x", (1,))
    files = {file.table: file for file in open_folder(shop).files}
    assert files.keys() == {"interactions", "items", "users"}
    assert files["users"].name == "users.csv.gz"
    assert files["users"].columns == ("user_id", "age")
    assert next(files["items"].rows()).fields == ["a", "Apple"]


def test_missing_folder(tmp_path):
    refused(tmp_path / "nowhere", "nowhere", "does not exist")


def test_a_file_in_place_of_a_folder_is_called_one(shop):
    refused(shop / "items.csv", "items.csv is a file", "path of a folder")


def test_missing_file_names_it_and_what_is_there(shop):
    (shop / "items.csv").rename(shop / "item.csv")
    refused(shop, "no items file", "item.csv", "items.parquet")


@pytest.mark.parametrize("column", ["user_id", "item_id", "timestamp"])
def test_missing_column_names_file_column_and_what_is_there(shop, column):
    columns = ",".join(c for c in ("user_id", "item_id", "timestamp") if c != column)
    write_csv(shop / "interactions.csv", columns, ("x", "y"))
    refused(shop, "interactions.csv", f"no column {column}", columns.replace(",", ", "))


def test_semicolons_are_shown_as_what_they_are(shop):
    (shop / "items.csv").write_text("item_id;title\na;Apple\n")
    refused(shop, "no column item_id", "item_id;title", "separated by commas")


@pytest.mark.parametrize(("table", "columns"), [("users", "age"), ("variant_groups", "item_id")])
def test_optional_tables_need_their_columns_too(shop, table, columns):
    write_csv(shop / f"{table}.csv", columns, ("x",))
    refused(shop, f"{table}.csv", "no column")


def test_two_files_for_one_table(shop):
    write_csv(shop / "items.csv.gz", "item_id,title", ("a", "Apple"))
    refused(shop, "items.csv and items.csv.gz", "Keep one")


def test_truncated_gzip(shop):
    whole = gzip.compress((shop / "items.csv").read_bytes() * 500)
    (shop / "items.csv").unlink()
    (shop / "items.csv.gz").write_bytes(whole[: len(whole) // 2])
    refused(shop, "items.csv.gz", "can't be read", "cut off")


def test_damaged_gzip(shop):
    whole = bytearray(gzip.compress((shop / "items.csv").read_bytes()))
    whole[-6] ^= 0xFF  # the checksum
    (shop / "items.csv").unlink()
    (shop / "items.csv.gz").write_bytes(bytes(whole))
    refused(shop, "items.csv.gz", "can't be read")


def test_name_that_promises_gzip_or_parquet(shop):
    (shop / "items.csv").rename(shop / "items.csv.gz")
    refused(shop, "items.csv.gz", "can't be read")
    (shop / "items.csv.gz").rename(shop / "items.parquet")
    refused(shop, "items.parquet", "can't be read")


def test_gzip_under_a_plain_name(shop):
    (shop / "items.csv").write_bytes(gzip.compress(b"item_id,title\na,Apple\n"))
    refused(shop, "items.csv")


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_header_that_is_not_utf8(shop, encoding):
    (shop / "items.csv").write_bytes("item_id,title,größe\na,Apple,1\n".encode(encoding))
    refused(shop, "items.csv", "UTF-8")


def test_file_without_a_byte(shop):
    (shop / "items.csv").write_bytes(b"")
    refused(shop, "items.csv", "is empty", "item_id, title")


@pytest.mark.parametrize(
    ("table", "words"),
    [("items", "the catalogue is empty"), ("interactions", "nothing to learn from")],
)
def test_header_without_rows(shop, table, words):
    path = shop / f"{table}.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n\n")
    refused(shop, f"{table}.csv", "no rows", words)


def test_column_twice_or_without_a_name(shop):
    write_csv(shop / "items.csv", "item_id,title,title", ("a", "b", "c"))
    refused(shop, "column title twice")
    write_csv(shop / "items.csv", ",item_id,title", (0, "a", "b"))
    refused(shop, "Column 1", "no name")


def test_table_that_is_a_folder(shop):
    (shop / "items.csv").unlink()
    (shop / "items.parquet").mkdir()
    refused(shop, "items.parquet", "one file")


def test_parquet_types_that_have_no_text(shop):
    (shop / "items.csv").unlink()
    frame = pd.DataFrame({"item_id": [1.0, 2.0], "title": ["a", "b"]})
    frame.to_parquet(shop / "items.parquet")
    refused(shop, "item_id", "double", "text or integers")
    frame = pd.DataFrame({"item_id": [1, 2], "title": ["a", "b"], "tags": [["x"], ["y"]]})
    frame.to_parquet(shop / "items.parquet")
    refused(shop, "tags", "list")


@contextmanager
def ordinary_user():
    """Root may look into every folder; nobody may not."""
    if (user := os.geteuid()) != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("part", [".", "span-1"])
def test_folder_that_may_not_be_looked_into(shop, part):
    if part != ".":
        (shop / part).mkdir()
        for path in shop.glob("*.csv"):
            path.rename(shop / part / path.name)
    # pytest's own folders let nobody else pass.
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        Path(place).chmod(0o755)
        folder = shutil.copytree(shop, Path(place) / "shop")
        (folder / part).chmod(0)
        with ordinary_user():
            refused(folder, str(folder), "can't be looked into", "Permission denied", "right to")
            with pytest.raises(BadInput, match="Permission denied"):
                open_table(folder / part / "items.csv", "items")


def test_file_that_may_not_be_read_is_not_called_damaged(shop):
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        Path(place).chmod(0o755)
        folder = shutil.copytree(shop, Path(place) / "shop")
        (folder / "items.csv").chmod(0)
        with ordinary_user():
            said = refused(folder, "items.csv", "Permission denied", "the right to read it")
            assert "damaged" not in said
            with pytest.raises(BadInput, match="right to read it"):
                open_table(folder / "items.csv", "items")


@pytest.mark.parametrize("part", ["span-2/interactions.csv", "span-1/users.parquet", "span-3"])
def test_a_link_to_nothing_is_not_taken_for_no_file(tmp_path, part):
    for number in (1, 2):
        write_shop(tmp_path / f"span-{number}")
    (tmp_path / part).unlink(missing_ok=True)
    (tmp_path / part).symlink_to("gone")
    refused(tmp_path, part, "can't be read", "a link to gone", "remove the link")


def test_a_link_to_a_file_is_that_file(shop, tmp_path):
    (shop / "items.csv").rename(tmp_path / "elsewhere.csv")
    (shop / "items.csv").symlink_to(tmp_path / "elsewhere.csv")
    assert "items.csv" in {file.name for file in open_folder(shop).files}


def test_name_of_a_folder_that_no_file_system_takes(tmp_path):
    refused(tmp_path / ("x" * 300), "can't be looked into", "File name too long")


def test_spans_are_ordered_by_number(tmp_path):
    for number in (10, 2, 1):
        write_shop(tmp_path / f"span-{number}")
    folder = open_folder(tmp_path)
    names = [file.name for file in folder.files if file.table == "items"]
    assert names == ["span-1/items.csv", "span-2/items.csv", "span-10/items.csv"]
    assert folder.span == 10


@pytest.mark.parametrize("name", ["span-0", "span-00"])
def test_spans_count_from_1(tmp_path, name):
    for folder in (name, "span-1"):
        write_shop(tmp_path / folder)
    refused(tmp_path, name, "count from 1", "rename")


def test_spans_beside_files_and_spans_twice(shop):
    shutil.copytree(shop, shop / "span-1")
    refused(shop, "beside span folders", "items.csv")
    for path in shop.glob("*.csv"):
        path.unlink()
    shutil.copytree(shop / "span-1", shop / "span-01")
    refused(shop, "span 1 twice", "span-01")


def test_a_span_in_which_nothing_happened_may_be_beside_one_with_rows(tmp_path):
    write_shop(tmp_path / "span-1")
    write_csv(tmp_path / "span-2" / "interactions.csv", "user_id,item_id,timestamp")
    assert open_folder(tmp_path).spans == (1, 2)


def test_fingerprint_follows_the_span_that_a_file_is_of(tmp_path):
    write_shop(tmp_path / "span-1")
    before = fingerprint(open_folder(tmp_path))
    (tmp_path / "span-1").rename(tmp_path / "span-2")
    assert before != fingerprint(open_folder(tmp_path))


def test_header_whose_quotes_are_malformed(shop):
    (shop / "items.csv").write_text('"item_id"x,title\na,Apple\n')
    refused(shop, "items.csv", "can't be read")


def test_ratings_in_one_span_only(tmp_path):
    write_shop(tmp_path / "span-1")
    columns = "user_id,item_id,rating,timestamp"
    write_csv(tmp_path / "span-2" / "interactions.csv", columns, ("ann", "a", 3, 10))
    refused(tmp_path, "span-1/interactions.csv", "rating", "other spans")


def test_fingerprint_follows_the_code_that_reads(shop, monkeypatch):
    before = fingerprint(open_folder(shop))
    monkeypatch.setattr("components.ingestion.folder.code_digest", lambda: b"another Debut")
    assert before != fingerprint(open_folder(shop))


def test_fingerprint_follows_content_and_key_and_not_place(shop, tmp_path):
    before = fingerprint(open_folder(shop))
    assert before == fingerprint(open_folder(shutil.copytree(shop, tmp_path / "copy")))
    assert before != fingerprint(open_folder(shop), b"key")
    with (shop / "items.csv").open("a") as file:
        file.write("d,Dates\n")
    assert before != fingerprint(open_folder(shop))
