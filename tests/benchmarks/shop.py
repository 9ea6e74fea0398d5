"""A made-up shop for the benchmarks: a data folder whose users like one kind of products each."""

import csv

import numpy as np

KINDS = ("mug", "lamp", "chair", "clock")
ITEMS, USERS = 60, 80


def read(file):
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def write_shop(folder, *, rated=True, groups=True):
    """Items of four kinds; item 3n+1 is the other colour of item 3n where there are groups."""
    random = np.random.default_rng(5)
    folder.mkdir(parents=True, exist_ok=True)
    kind = np.arange(ITEMS) // 3 % len(KINDS)
    rows(
        folder / "items.csv",
        ("item_id", "title", "category", "brand", "description", "price"),
        [
            (f"i{i:02d}", f"{KINDS[kind[i]]} number {i}", "home", "", f"a {KINDS[kind[i]]}", "1")
            for i in range(ITEMS)
        ],
    )
    taste = random.integers(0, len(KINDS), USERS)
    bought = random.random((USERS, ITEMS)) < np.where(taste[:, None] == kind, 0.4, 0.04)
    rows(
        folder / "interactions.csv",
        ("user_id", "item_id", "rating", "timestamp"),
        [
            (f"u{u:02d}", f"i{i:02d}", 1 + (u + i) % 5 if rated else 1, 1000 * u + i)
            for u, i in zip(*np.nonzero(bought), strict=True)
        ],
    )
    if groups:
        rows(
            folder / "variant_groups.csv",
            ("item_id", "group_id"),
            [(f"i{i:02d}", f"g{i // 3}") for i in range(ITEMS) if i % 3 < 2],
        )
    return folder


def rows(file, header, content):
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(content)
