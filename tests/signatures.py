"""Name, dtype and rank of every input and output of a served model; most have clients."""

import tensorflow as tf

STRING, FLOAT, INT, BOOL = (tf.string, tf.float32, tf.int32, tf.bool)
USER = {"user_id": (STRING, 1), "history": (STRING, 2), "profile": (STRING, 1)}
RANKED = {"item_id": (STRING, 2), "score": (FLOAT, 2)}
RATED = {"rating": (FLOAT, 1), "score": (FLOAT, 1)}
PRODUCT = dict.fromkeys(("title", "category", "brand", "description"), (STRING, 1)) | {
    "price": (FLOAT, 1)
}

CONTRACT = {
    "serving_default": ({"examples": (STRING, 1)}, RATED),
    "evaluate": (
        {"examples": (STRING, 1)},
        {
            "rank": (FLOAT, 1),
            "cold_rank": (FLOAT, 1),
            "rating": (FLOAT, 1),
            "squared_error": (FLOAT, 1),
            "listed": (INT, 2),
            "cold_listed": (INT, 2),
            "candidates": (FLOAT, 1),
            "cold_candidates": (FLOAT, 1),
            "rated": (FLOAT, 2),
            "given": (FLOAT, 2),
            "asked": (INT, 1),
            "buyers": (FLOAT, 1),
        },
    ),
    "recommend": (
        USER | {"k": (INT, 0), "new_only": (BOOL, 0)},
        RANKED | {"propensity": (FLOAT, 2)},
    ),
    "score": (USER | {"item_id": (STRING, 1)}, RATED),
    "explain": (
        USER | {"item_id": (STRING, 1)},
        {
            "score": (FLOAT, 1),
            "base": (FLOAT, 1),
            "evidence": (FLOAT, 1),
            "history_item": (STRING, 2),
            "history_score": (FLOAT, 2),
            "word": (STRING, 2),
            "word_score": (FLOAT, 2),
            "rest": (FLOAT, 1),
        },
    ),
    "embed_items": (
        PRODUCT,
        {"embedding": (FLOAT, 2)},
    ),
    "describe_items": (
        PRODUCT,
        {
            "embedding": (FLOAT, 2),
            "text": (FLOAT, 2),
            "term": (tf.int64, 2),
            "term_weight": (FLOAT, 2),
            "price_level": (FLOAT, 1),
            "brand_code": (tf.int64, 1),
        },
    ),
    "embed_users": (USER, {"embedding": (FLOAT, 3)}),
    "similar_items": ({"item_id": (STRING, 1), "k": (INT, 0)}, RANKED),
    "audience": (
        {"item_id": (STRING, 1)} | PRODUCT | {"k": (INT, 0)},
        {"user_id": (STRING, 2), "score": (FLOAT, 2)},
    ),
    "adapt_items": (
        {
            "item_id": (STRING, 1),
            "user_id": (STRING, 2),
            "timestamp": (tf.int64, 2),
            "rating": (FLOAT, 2),
        },
        {
            "embedding": (FLOAT, 2),
            "demand": (FLOAT, 1),
            "is_adapted": (BOOL, 1),
            "count": (FLOAT, 2),
            "time": (tf.int64, 2),
            "lift": (FLOAT, 2),
            "attention": (FLOAT, 2),
            "weight": (FLOAT, 2),
        },
    ),
}
