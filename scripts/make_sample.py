"""Makes the sample shop from a complete data folder: a fifth of its products become new products.

    python scripts/make_sample.py SOURCE [--out data/online_retail]

The drawn products stay in the catalogue, their interactions move to `answer_key.csv.gz`: what
customers really bought. The draw is a hash of the item id: the same source gives the same sample,
byte for byte with the same zlib. All users are kept, even one whose every purchase is hidden.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import json
from pathlib import Path

# Not a seed that models are compared with elsewhere, so that the demo can't flatter or spoil those.
SALT = "sample"
SHARE = 0.2

Row = dict[str, str]


def is_new(item_id: str) -> bool:
    """Whether the hash of an item id draws it as a new product."""
    digest = hashlib.sha256(f"{SALT}:{item_id}".encode()).hexdigest()
    return int(digest[:8], 16) / 2**32 < SHARE


def read(path: Path) -> list[Row]:
    """Rows of a gzipped CSV file, every value the string that stands there."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[Row]) -> None:
    """Writes rows as a gzipped CSV file with no name or time in its header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(gzip.compress(text.getvalue().encode(), compresslevel=9, mtime=0))


def make_sample(source: Path, out: Path) -> dict[str, object]:
    """Writes the sample shop.

    Args:
        source: a data folder with `items`, `interactions` and `users` as `.csv.gz`.
        out: the folder to write to; files of the same names are replaced.

    Returns:
        What was written, as `meta.json` holds it.
    """
    items, users = read(source / "items.csv.gz"), read(source / "users.csv.gz")
    kept: list[Row] = []
    hidden: list[Row] = []
    for row in read(source / "interactions.csv.gz"):
        (hidden if is_new(row["item_id"]) else kept).append(row)

    out.mkdir(parents=True, exist_ok=True)
    write(out / "items.csv.gz", items)
    write(out / "users.csv.gz", users)
    write(out / "interactions.csv.gz", kept)
    write(out / "answer_key.csv.gz", hidden)
    meta: dict[str, object] = {
        "salt": SALT,
        "share": SHARE,
        "users": len(users),
        "items": len(items),
        "new_items": sum(is_new(row["item_id"]) for row in items),
        "interactions": len(kept),
        "hidden_interactions": len(hidden),
    }
    (out / "meta.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
    return meta


def main() -> None:
    """Reads the command line and prints what was written."""
    parser = argparse.ArgumentParser(
        description="Make the sample shop from a complete data folder."
    )
    parser.add_argument("source", type=Path, help="data folder with *.csv.gz")
    parser.add_argument("--out", type=Path, default=Path("data/online_retail"))
    arguments = parser.parse_args()
    print(json.dumps(make_sample(arguments.source, arguments.out)))


if __name__ == "__main__":
    main()
