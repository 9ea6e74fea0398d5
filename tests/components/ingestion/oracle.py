"""What ingestion should give, computed with pandas in the plainest way: row by row, all at once."""

import hashlib
from typing import Any

import pandas as pd

from components.ingestion.options import DataOptions


def draw(text: str) -> float:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def expected_interactions(
    interactions: pd.DataFrame, groups: dict[str, str], options: DataOptions
) -> list[dict[str, Any]]:
    salt = options.split_salt
    frame = interactions.sort_values(["user_id", "timestamp", "item_id", "rating"]).copy()
    low, high = frame.rating.min(), frame.rating.max()
    frame["rating"] = 1.0 if low == high else (frame.rating - low) / (high - low)
    frame["new"] = [
        draw(f"{salt}:item:{groups.get(i, i)}") < options.new_item_share for i in frame.item_id
    ]
    frame["split"] = ["new_items" if new else "train" for new in frame.new]
    for user, rows in frame[~frame.new].groupby("user_id"):
        first = rows.drop_duplicates("item_id")
        if len(first) >= 3 and draw(f"{salt}:user:{user}") < options.eval_user_share:
            tail = max(1, int(options.eval_tail_share * len(first)))
            latest = rows.item_id.isin(first.item_id[-tail:])
            frame.loc[rows.index[latest], "split"] = "eval"
    result = []
    for row in frame.itertuples():
        past = frame[(frame.user_id == row.user_id) & (frame.timestamp < row.timestamp)]
        past = past[~past.new & (past.item_id != row.item_id)].drop_duplicates(
            "item_id", keep="last"
        )
        past = past.tail(options.history_length)
        result.append(
            {
                "split": row.split,
                "user_id": row.user_id,
                "item_id": row.item_id,
                "timestamp": row.timestamp,
                "rating": row.rating,
                "history": list(past.item_id),
                "history_rating": list(past.rating),
                "item_state": "new" if row.new else "seen",
            }
        )
    return result
