"""Names of every feature that flows through the pipeline: the only place that knows them.

Two kinds of `tf.Example` leave ingestion. The *catalogue* holds every item once, with its text. An
*interaction* holds ids only, because text that is copied into each interaction multiplies storage
and Beam time by the length of the history. After Transform, items are rows of the catalogue.
"""

from bisect import bisect_right
from typing import Final

# Catalogue Example.
ITEM_ID: Final = "item_id"  # bytes [1]
TITLE: Final = "title"  # bytes [1]
CATEGORY: Final = "category"  # bytes [1], empty where unknown
BRAND: Final = "brand"  # bytes [1], empty where unknown
DESCRIPTION: Final = "description"  # bytes [1], further columns of the file appended
PRICE: Final = "price"  # float [0 or 1], absent where unknown
AVAILABLE: Final = "available"  # int64 [1], 0 for an item that is not on sale
INTERACTIONS: Final = "interactions"  # int64 [1], over all splits; 0 is a new product

# Interaction Example; it has ITEM_ID too.
USER_ID: Final = "user_id"  # bytes [1], a pseudonym where a key is configured
RATING: Final = "rating"  # float [1] in [0, 1]
TIMESTAMP: Final = "timestamp"  # int64 [1], unix seconds
HISTORY: Final = "history"  # bytes [0..history_length], the user's earlier items, oldest first
HISTORY_RATING: Final = "history_rating"  # float, aligned with HISTORY
PROFILE: Final = "profile"  # bytes [1], "age: 24. occupation: technician."
ITEM_STATE: Final = "item_state"  # bytes [1], SEEN or NEW; a slice of the gates
PROPENSITY: Final = "propensity"  # float [0 or 1] in (0, 1], absent where none was logged
SPAN: Final = "span"  # int64 [1], of the file the row stands in; 0 where the folder has none
SPAN_AGE: Final = "span_age"  # bytes [1], EARLIER or LATEST; a slice of the gates

USER_GROUP: Final = "user_group"  # bytes [1], by the length of HISTORY; a slice of the gates
ITEM_GROUP: Final = "item_group"  # bytes [1], by the item's interactions; a slice of the gates

SEEN: Final = b"seen"
NEW: Final = b"new"
EARLIER: Final = b"earlier"
LATEST: Final = b"latest"  # also of every row of a folder without spans

# Groups, and from how many earlier items of the user, or interactions of the item in all splits.
USER_GROUPS: Final = {b"unknown": 0, b"light": 1, b"heavy": 10}
ITEM_GROUPS: Final = {b"niche": 0, b"middle": 10, b"popular": 100}

# Splits of the interactions. The catalogue has the single split ALL.
TRAIN: Final = "train"
EVAL: Final = "eval"  # later interactions with items that training has seen
NEW_ITEMS: Final = "new_items"  # all interactions of the items held out as if they were new
ALL: Final = "all"

ITEM_TEXT: Final = (TITLE, CATEGORY, BRAND, DESCRIPTION)
ITEM_NAME: Final = (TITLE, CATEGORY, BRAND)
OWN: Final = (TITLE, DESCRIPTION)  # what others of the category and brand don't have

# What Transform makes of the catalogue, besides ITEM_ID, AVAILABLE and INTERACTIONS, and CATEGORY,
# BRAND and PRICE (NaN where unknown), which rules look at, as they do at WORDS.
WORDS: Final = "words"  # int64, of OWN
NAME: Final = "name"  # bytes, ITEM_NAME as the encoder and the lexical path read them
TOKENS: Final = "tokens"  # int64 [max_tokens], padded
TERM_IDS: Final = "term_ids"  # int64 [any], word pieces and pairs of the whole text and of the name
TERM_WEIGHTS: Final = "term_weights"  # float, aligned with TERM_IDS, of unit length
LEXICAL: Final = "lexical"  # float [lexical_size], a sketch of the terms, of unit length
PRICE_BUCKET: Final = "price_bucket"  # int64, 0 where unknown
PRICE_LEVEL: Final = "price_level"  # float, standardised logarithm of the price, 0 where unknown
BRAND_CODE: Final = "brand_code"  # int64, equal for equal brands, -1 where unknown

# Vocabulary that Transform writes beside the interactions: item ids with their counts in train.
POPULARITY: Final = "popularity"


def group_of(count: int, groups: dict[bytes, int]) -> bytes:
    """The last group that begins at or below a count."""
    return [*groups][bisect_right([*groups.values()], count) - 1]
