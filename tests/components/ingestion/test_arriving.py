"""Files that arrive after a run: new products, first interactions, and what is withdrawn."""

import hmac

import pytest

from components.ingestion.folder import INTERACTIONS, ITEMS, open_table
from components.ingestion.newcomers import read_products, read_withdrawn
from components.ingestion.rows import DUPLICATE, EMPTY_ID, NOT_A_NUMBER, UNKNOWN_ITEM
from components.ingestion.summary import RatingScale
from components.ingestion.support import read_support
from models.errors import BadInput
from models.products import Product
from models.shelf.taken_in import FirstInteraction
from tests.components.ingestion.helpers import data_options

LENIENT = {"max_quarantined_share": 0.5}
STARS = RatingScale(1, 5, is_implicit=False)


def table(tmp_path, name, *lines, required=None):
    file = tmp_path / "arrived.csv"
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return open_table(file, name, required=required)


def reasons(set_aside):
    return [(row.row, row.line, row.reason, row.column, row.value) for row in set_aside]


def test_of_the_rows_about_a_product_the_first_counts(tmp_path):
    file = table(
        tmp_path, ITEMS, "item_id,title,price", "a,Cup,2.5", "a,Mug,3", "b,Pot,cheap", "c,Jar,"
    )
    products, set_aside = read_products(file, data_options(**LENIENT))
    assert products == [
        Product("a", "Cup", "", "", "", 2.5, None),
        Product("c", "Jar", "", "", "", None, None),
    ]
    assert reasons(set_aside) == [
        (2, 3, DUPLICATE, "item_id", "a"),
        (3, 4, NOT_A_NUMBER, "price", "cheap"),
    ]


@pytest.mark.parametrize(
    ("lines", "says"),
    [([], "has a header but no rows"), (["a,cheap", ",2"], "2 of 2 rows of .* can't be used")],
)
def test_a_file_without_a_row_that_can_be_used_is_refused_whatever_share_is_allowed(
    tmp_path, lines, says
):
    file = table(tmp_path, ITEMS, "item_id,price", *lines, required=("item_id",))
    with pytest.raises(BadInput, match=says):
        read_products(file, data_options(max_quarantined_share=1.0))


def test_a_refused_file_is_told_with_every_frequent_reason_and_how_many_others_there_are(tmp_path):
    bad = [",1", "a,cheap", "b,cheap", "c,-1", f"{'d' * 5000},1", "e,cheap"]
    rows = ("item_id,price", *bad, *(f"n{number},cheap" for number in range(4)))
    file = table(tmp_path, ITEMS, *rows, required=("item_id",))
    with pytest.raises(BadInput) as refused:
        read_products(file, data_options(max_quarantined_share=0.0))
    told = str(refused.value)
    assert f"10 of 10 rows of {file.path} can't be used" in told
    assert (
        f": price: {NOT_A_NUMBER} (7, rows 2, 3, 6, 7, 8, …); item_id: {EMPTY_ID} (1, rows 1); "
        in told
    )
    assert "; others (1). Rows are counted from 1 below the header. Mend them" in told


def test_a_product_is_withdrawn_whatever_stands_in_its_other_columns(tmp_path):
    rows = ("item_id,price,available", "a,cheap,perhaps", "b,-1,", "x,1,")
    file = table(tmp_path, ITEMS, *rows, required=("item_id",))
    withdrawn, set_aside = read_withdrawn(file, data_options(**LENIENT), {"a", "b"})
    assert withdrawn == ["a", "b"]
    assert reasons(set_aside) == [(3, 4, UNKNOWN_ITEM, "item_id", "x")]


def test_too_many_unknown_items_are_named(tmp_path):
    file = table(tmp_path, ITEMS, "item_id", "x", "y", "a", required=("item_id",))
    with pytest.raises(BadInput, match=r"2 of 3 rows .*The model does not know: x, y\."):
        read_withdrawn(file, data_options(**LENIENT), {"a"})


def test_first_interactions_are_on_the_scale_of_the_run_and_show_no_user(tmp_path):
    file = table(
        tmp_path, INTERACTIONS, "user_id,item_id,timestamp,rating",
        "ann,a,1600000000,3", "ann,x,1600000000,3", "ben,a,1600000000,6", "ben,a,1600000001,5",
    )  # fmt: skip
    interactions, set_aside = read_support(
        file, options=data_options(**LENIENT), scale=STARS, catalogue={"a"}, pseudonym_key=b"key",
    )  # fmt: skip
    ann, ben = (hmac.new(b"key", user, "sha256").hexdigest() for user in (b"ann", b"ben"))
    assert interactions == [
        FirstInteraction("a", ann, 1600000000, 0.5),
        FirstInteraction("a", ben, 1600000001, 1.0),
    ]
    assert [(row.row, row.column, row.value) for row in set_aside] == [
        (2, "item_id", ""),
        (3, "rating", ""),
    ]


def test_first_interactions_without_the_ratings_of_the_run_are_refused(tmp_path):
    file = table(tmp_path, INTERACTIONS, "user_id,item_id,timestamp", "ann,a,1600000000")
    with pytest.raises(BadInput, match="has no column rating"):
        read_support(file, options=data_options(), scale=STARS, catalogue={"a"}, pseudonym_key=None)


def test_unknown_items_beside_users_that_must_not_be_shown_are_told_by_their_rows(tmp_path):
    lines = ["ann,a,1600000000", *(f"ann,x{number},1600000000" for number in range(12))]
    file = table(tmp_path, INTERACTIONS, "user_id,item_id,timestamp", *lines)
    options = data_options(max_quarantined_share=0.1)
    scale = RatingScale(1, 1, is_implicit=True)
    told = rf"item_id: {UNKNOWN_ITEM} \(12, rows 2, 3, 4, 5, 6, …\)\. Rows are .* Mend them"
    with pytest.raises(BadInput, match=told) as caught:
        read_support(file, options=options, scale=scale, catalogue={"a"}, pseudonym_key=b"key")
    assert "ann" not in str(caught.value) and "x1" not in str(caught.value)
