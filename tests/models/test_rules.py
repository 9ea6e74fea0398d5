"""The file of rules: what is not one is refused by name, and what it says of items."""

import json
from datetime import datetime, timezone

import numpy as np
import pytest

from models.errors import BadInput
from models.rules import (
    NO_GROUP,
    Goods,
    Rules,
    count_rules,
    on_day,
    read_rules,
    require_something,
    rule,
)

NOON = datetime(2026, 12, 10, 12, tzinfo=timezone.utc).timestamp()


def goods(*rows):
    item, category, brand = (
        np.array([row[place].encode() for row in rows], object) for place in range(3)
    )
    price = np.array([row[3] for row in rows], np.float32)
    return Goods(item, category, brand, price, np.array([row[4] for row in rows], np.int64))


SHOP = goods(
    ("007", "Tea", "Acme", 2.0, 5),
    ("7", "tea ", "", 8.0, 1),
    ("star", "Christmas", "acme", np.nan, 2),
    ("bag", "", "ACME", 30.0, 0),
)
ON_SALE = np.ones(4, bool)
NOTHING_SOLD = np.zeros(4, bool)


def write(folder, text):
    file = folder / "rules.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def passing(text, folder, now=NOON):
    return rule(read_rules(write(folder, text)), SHOP, now=now).allowed.tolist()


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("block: {items: [007]}", [False, True, True, True]),
        ("block: {categories: [TEA]}", [False, False, True, True]),
        ("block: {categories: [tea], items: [bag]}", [False, False, True, False]),
        ("allow: {brands: [acme]}", [True, False, True, True]),
        ("allow: {brands: [acme]}\nblock: {items: [bag]}", [True, False, True, False]),
        ("price: {min: 2, max: 8}", [True, True, True, False]),
        ("price: {min: 8, max: 8}", [False, True, True, False]),
        ("price: {min: 3, unknown: false}", [False, True, False, True]),
        (
            "dates: [{items: [star], first: 2026-12-01, last: 2026-12-09}]",
            [True, True, False, True],
        ),
        ("dates: [{items: [star], first: 2026-12-01, last: 2026-12-10}]", [True] * 4),
        ("dates: [{items: [star], first: 2026-12-10}]", [True] * 4),
        ("dates: [{items: [star], first: 2026-12-10, last: 2026-12-10}]", [True] * 4),
        ("dates: [{items: [star], first: 2026-12-11}]", [True, True, False, True]),
        (
            "dates: [{items: [star], first: 2026-12-11}, {items: [star], first: 2026-12-01}]",
            [True, True, False, True],
        ),
        (
            "dates: [{items: [star], last: 2026-12-09}, {items: [star], last: 2026-12-11}]",
            [True, True, False, True],
        ),
        (
            "dates: [{categories: [tea], first: 2026-12-01}, {items: ['7'], last: 2026-12-05}]",
            [True, False, True, True],
        ),
    ],
)
def test_rules_let_through_what_they_say(tmp_path, text, allowed):
    assert passing(text, tmp_path) == allowed


@pytest.mark.parametrize(
    ("now", "may"), [(NOON - 0.5, False), (NOON, True), (NOON + 9.5, True), (NOON + 10, False)]
)
def test_a_first_moment_is_within_the_time_and_the_end_is_not(now, may):
    first, end = (np.array([NOON + later], np.int64) for later in (0, 10))
    assert on_day(first, end, now).tolist() == [may]


def test_boosts_multiply_within_their_bounds(tmp_path):
    text = """
boosts:
  - {categories: [tea], factor: 1.5}
  - {items: [007], factor: 4}
  - {items: [bag], factor: 0.2}
boost_bounds: [0.5, 3]
"""
    found = rule(read_rules(write(tmp_path, text)), SHOP, now=NOON)
    np.testing.assert_allclose(np.exp(found.boost), [3.0, 1.5, 1.0, 0.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("group", "same"), [("category", [0, 0, 1, None]), ("brand", [0, None, 0, 0])]
)
def test_a_group_is_a_category_or_brand_whatever_its_case(tmp_path, group, same):
    text = f"cap: {{group: {group}, most: 2}}"
    found = rule(read_rules(write(tmp_path, text)), SHOP, now=NOON).group
    assert [code == NO_GROUP for code in found] == [one is None for one in same]
    for one, code in zip(same, found, strict=True):
        assert [code == other for other in found] == [one == other for other in same]


def test_many_categories_are_as_many_groups_and_case_is_that_of_every_script(tmp_path):
    shop = goods(*((str(n), f"category {n}", "", 1.0, 5) for n in range(3000)))
    rules = read_rules(write(tmp_path, "cap: {group: category, most: 2}"))
    assert len(set(rule(rules, shop, now=NOON).group.tolist())) == 3000
    street = goods(("a", "Straße", "", 1.0, 5), ("b", "STRASSE", "", 1.0, 5))
    one, other = rule(rules, street, now=NOON).group
    assert one == other


def test_a_stated_parent_may_spell_its_path(tmp_path):
    text = """
back_off: {parents: {Mugs: Home > Kitchen, home: " house ", blank: " > "}}
"""
    shop = goods(
        ("a", "mugs", "", 1.0, 1), ("b", "Home > Kitchen", "", 1.0, 1), ("c", "house", "", 1.0, 1),
        ("d", "Blank", "", 1.0, 1),
    )  # fmt: skip
    mugs, kitchen, house, blank = rule(read_rules(write(tmp_path, text)), shop, now=NOON).level
    kitchens = [code for code in kitchen.tolist() if code != NO_GROUP]
    assert len(kitchens) == 3 and kitchens[2] == house[0]
    assert mugs[1:4].tolist() == kitchens
    assert (blank[1:] == NO_GROUP).all()


def test_of_a_long_path_the_nearest_six_levels_are_kept(tmp_path):
    shop = goods(*((str(n), ">".join("abcdefgh"[:n]), "", 1.0, 5) for n in range(1, 9)))
    level = rule(read_rules(write(tmp_path, "back_off: {words: 2}")), shop, now=NOON).level
    own = level[:, 0].tolist()
    assert level[7].tolist() == own[:1:-1]
    assert level[5].tolist() == own[5::-1]


def test_categories_spell_their_path_or_have_it_stated(tmp_path):
    text = """
back_off:
  words: 2
  least: 3
  parents: {Tea: Drinks, drinks: Kitchen, Kitchen: home}
"""
    shop = goods(
        ("a", "tea", "", 1.0, 5), ("b", " TEA", "", 1.0, 1), ("c", "Kitchen > Cups", "", 1.0, 0),
        ("d", "kitchen>cups> ", "", 1.0, 2), ("e", "", "", 1.0, 0), ("f", "home", "", 1.0, 9),
    )  # fmt: skip
    found = rule(read_rules(write(tmp_path, text)), shop, now=NOON)
    assert found.backs_off.tolist() == [0, 3, 3, 0, 3, 0]
    paths = [[code for code in row if code != NO_GROUP] for row in found.level.tolist()]
    assert list(map(len, paths)) == [4, 4, 3, 3, 0, 1]
    assert paths[0] == paths[1] and paths[2] == paths[3]
    tea, drinks, kitchen, home = paths[0]
    assert len({tea, drinks, kitchen, home, paths[2][0]}) == 5
    assert paths[2][1:] == [kitchen, home] and paths[5] == [home]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("block: {item: [7]}", "block.item"),
        ("block: {}", "block: names nothing; list items, categories or brands"),
        ("blocked: {items: [7]}", "blocked"),
        (
            "boosts: [{items: [7], factor: 50}]",
            r"boosts.0.factor is '50'.*less than or equal to 10",
        ),
        ("boost_bounds: [2, 3]", "boost_bounds are 2 and 3; give two factors around 1"),
        ("price: {min: 9, max: 3}", "price: min 9 is above max 3; swap them"),
        ("price: {min: cheap}", "price.min is 'cheap'"),
        # JSON, by which rules come along with a model, has no infinity.
        ("price: {min: inf}", "price.min is 'inf': Input should be a finite number"),
        ("price: {max: inf}", "price.max is 'inf': Input should be a finite number"),
        ("new_share: 1.2", "new_share is '1.2'"),
        ("cap: {group: colour, most: 2}", "cap.group is 'colour'.*'category' or 'brand'"),
        ("cap: {group: brand, most: 0}", "cap.most is '0'"),
        ("diversity: {weight: 0}", "diversity.weight is '0'"),
        ("diversity: {}", "diversity.weight"),
        ("back_off: {words: 0}", "back_off.words is '0'"),
        (
            "back_off: {parents: {tea: Kitchen, kitchen: TEA}}",
            "back_off: parents lead from 'tea' back to 'tea'; cut the ring",
        ),
        (
            "back_off: {parents: {cup: tea, tea: kitchen, kitchen: tea}}",
            "back_off: parents lead from 'cup' back to 'tea'; cut the ring",
        ),
        (
            "back_off: {parents: {cups: Home > Kitchen, home: cups}}",
            "back_off: parents lead from 'cups' back to 'cups'; cut the ring",
        ),
        ("dates: [{items: [7]}]", "dates.0: has neither first nor last"),
        ("dates: [{items: [7], first: 2026-13-01}]", "dates.0.first is '2026-13-01'"),
        (
            "dates: [{items: [7], first: 2026-12-09, last: 2026-12-01}]",
            "dates.0: first 2026-12-09 is after last 2026-12-01",
        ),
        ("block: {brands: ['']}", "block.brands.0 is '': is blank; give a name, or leave"),
        ("block:\n  brands:\n    - acme\n    - \n", "block.brands.1 is '': is blank"),
        ("allow: {items: [' ']}", "allow.items.0 is ' ': is blank"),
        ("back_off: {parents: {tea: ''}}", "back_off.parents.tea is '': is blank"),
        (
            "block: {items: [7]}\nprice: {max: 9}\nblock: {items: [8]}",
            "line 3 says 'block' a second time; put what belongs to it together",
        ),
        (
            "back_off: {parents: {tea: kitchen, tea: home}}",
            "line 1 says 'tea' a second time",
        ),
        ("- block", "must hold sections"),
        ("block: [", "can't be read"),
    ],
)
def test_a_bad_rule_is_refused_with_the_file_and_the_place(tmp_path, text, says):
    file = write(tmp_path, text)
    with pytest.raises(BadInput, match=says) as caught:
        read_rules(file)
    assert str(file) in str(caught.value)


COMPOSED, DECOMPOSED = "K\u00fcche", "Ku\u0308che"


@pytest.mark.parametrize(("said", "has"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_a_name_is_the_same_however_unicode_spells_its_accents(tmp_path, said, has):
    assert said != has
    shop = goods(
        (has, "", "", 1.0, 5), ("a", f"{has} > tea", "", 1.0, 5), ("b", has.upper(), "", 1.0, 5),
        ("c", "", has, 1.0, 5), ("d", said, has, 1.0, 5), ("e", "Kuche", "", 1.0, 5),
    )  # fmt: skip
    for column, found in (
        ("items", [0]), ("categories", [2, 4]), ("brands", [3, 4]),
    ):  # fmt: skip
        rules = read_rules(write(tmp_path, f"block: {{{column}: ['{said}']}}"))
        shut_out = ~rule(rules, shop, now=NOON).allowed
        assert np.flatnonzero(shut_out).tolist() == found
    text = f"cap: {{group: category, most: 2}}\nback_off: {{parents: {{x: '{said}'}}}}"
    ruled = rule(read_rules(write(tmp_path, text)), shop, now=NOON)
    assert ruled.group[2] == ruled.group[4] != ruled.group[5]
    assert ruled.level[1, 1] == ruled.level[2, 0] == ruled.level[4, 0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("allow: {brands: [amce, ACNE]}", "none of 4 .* left after `allow`.*has ACNE, amce"),
        ("allow: {brands: [acme]}\nprice: {max: 1, unknown: false}", "is left after `price`"),
        ("block: {brands: [acme]}\nallow: {items: [007, lost]}", "left after `allow`.* has lost"),
        ("allow: {items: [star]}\ndates: [{items: [star], last: 2026-12-09}]", "`dates` as of"),
    ],
)
def test_rules_that_leave_nothing_are_refused_with_the_name_of_the_rule(tmp_path, text, says):
    rules = read_rules(write(tmp_path, text))
    assert not rule(rules, SHOP, now=NOON).allowed.any()
    with pytest.raises(BadInput, match=says):
        require_something(rules, SHOP, ON_SALE, now=NOON)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("allow: {items: [star, bag]}", "none of 2 available items is left after `allow`. Correct"),
        ("block: {categories: [tea]}", "none of 2 available items is left after `block`"),
        ("price: {min: 9}", "none of 2 available items is left after `price`"),
        ("dates: [{items: [007, 7], last: 2026-12-09}]", "none of 2 available .* `dates` as of"),
    ],
)
def test_rules_that_leave_only_items_that_are_not_available_are_refused(tmp_path, text, says):
    rules, available = read_rules(write(tmp_path, text)), np.array([True, True, False, False])
    require_something(rules, SHOP, ON_SALE, now=NOON)
    with pytest.raises(BadInput, match=says):
        require_something(rules, SHOP, available, now=NOON)
    assert available.tolist() == [True, True, False, False], "the catalogue's own column"


@pytest.mark.parametrize("text", [None, "block: {items: [007]}"])
def test_a_catalogue_of_which_nothing_is_available_is_refused_with_the_column(tmp_path, text):
    rules = None if text is None else read_rules(write(tmp_path, text))
    with pytest.raises(BadInput, match=r"of 4 items none is available\..*the column available"):
        require_something(rules, SHOP, np.zeros(4, bool), now=NOON)
    one = np.array([False, True, False, False])
    require_something(rules, SHOP, one, now=NOON)


def test_a_name_that_no_item_has_does_nothing_where_others_are_left(tmp_path):
    for text in ("allow: {brands: [acme, amce]}", "block: {items: [lost]}", "new_share: 1"):
        require_something(read_rules(write(tmp_path, text)), SHOP, ON_SALE, now=NOON)
    assert passing("allow: {brands: [acme, amce]}", tmp_path) == [True, False, True, True]


def test_each_rule_is_counted_over_the_catalogue_and_names_that_no_item_has_are_told(tmp_path):
    text = """
block: {items: [007, gone, 8, 9, 10], categories: [TEA]}
allow: {brands: [ACME]}
price: {min: 3, max: 20, unknown: false}
dates:
  - {items: [star, 7], first: 2026-12-01}
boosts:
  - {brands: [acme], factor: 1.5}
  - {brands: [amce], factor: 2}
new_share: 0.2
cap: {group: brand, most: 3}
back_off: {words: 2, least: 4, parents: {tea: kitchen}}
"""
    found = count_rules(read_rules(write(tmp_path, text)), SHOP, NOTHING_SOLD)
    assert [(one.rule, one.numbers, one.items) for one in found] == [
        ("block", "", 2),
        ("allow", "", 3),
        ("price", "min 3, max 20, unknown false", 3),
        ("dates.0", "first 2026-12-01", 2),
        ("boosts.0", "factor 1.5", 3),
        ("boosts.1", "factor 2", 0),
        ("new_share", "0.2", None),
        ("cap", "group brand, most 3", None),
        ("back_off", "words 2, least 4, separator >", 0),
    ]
    assert {one.rule: one.warning for one in found if one.warning} == {
        "block": "Rule block: no item has 10, 8, 9 and 1 more.",
        "boosts.1": "Rule boosts.1: no item has amce.",
    }


@pytest.mark.parametrize(("least", "taken"), [(1, 5), (2, 4), (3, 0)])
def test_items_are_counted_as_backing_off_where_a_category_speaks_for_them(tmp_path, least, taken):
    shop = goods(
        ("sold", "Food > Tea", "", 1.0, 1), ("sold too", "Food > Tea > Green", "", 1.0, 9),
        ("sold as well", "home", "", 1.0, 1), ("bun", "Food", "", 1.0, 1),
        ("tea", "Food > Tea", "", 1.0, 1), ("green", "Food > Tea > Green", "", 1.0, 1),
        ("wordy", "Food > Tea", "", 1.0, 2), ("spice", "Food > Spice", "", 1.0, 0),
        ("cup", "Home", "", 1.0, 1), ("nowhere", "", "", 1.0, 1), ("toy", "Toys", "", 1.0, 1),
    )  # fmt: skip
    rules = read_rules(write(tmp_path, f"back_off: {{words: 2, least: {least}}}"))
    [found] = count_rules(rules, shop, np.arange(len(shop.item)) < 3)
    assert found.items == taken


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"none\.yaml can't be read"):
        read_rules(tmp_path / "none.yaml")


def test_rules_survive_the_way_through_tfx_and_beside_a_model(tmp_path):
    text = """
block: {items: [007]}
price: {min: 1}
dates: [{items: [star], last: 2026-12-24}]
boosts: [{brands: [acme], factor: 2}]
new_share: 0.2
cap: {group: brand, most: 3}
diversity: {weight: 0.5}
back_off: {words: 3, parents: {tea: kitchen}}
"""
    rules = read_rules(write(tmp_path, text))
    assert Rules.model_validate(json.loads(json.dumps(rules.model_dump(mode="json")))) == rules
    rules.save(tmp_path)
    assert Rules.load(tmp_path) == rules
    assert Rules.load(tmp_path / "elsewhere") is None
