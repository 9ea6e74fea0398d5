"""Products as a file names them, and what the served model says of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import tensorflow as tf

from models import features
from models.arrays import Floats
from models.interactions import PAD

BATCH: Final = 64


class Product(NamedTuple):
    """One row of an items table.

    Attributes:
        item: its id.
        title, category, brand, description: texts, empty where unknown.
        price: None where it is unknown.
        available: whether it may be recommended, None where the file doesn't say.
    """

    item: str
    title: str
    category: str
    brand: str
    description: str
    price: float | None
    available: bool | None


class Described(NamedTuple):
    """What the signature `describe_items` answers of N products.

    Attributes:
        embedding: float32 [N, D].
        text: float32 [N, hidden].
        terms: float32 [N, columns], sparse; as many columns as the products have need of.
        price: float32 [N], standardised logarithm, NaN where it is unknown.
        brand: int64 [N].
    """

    embedding: Floats
    text: Floats
    terms: sp.csr_matrix
    price: Floats
    brand: npt.NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence[Described]) -> Described:
        """Several together, at least one."""
        width = max(part.terms.shape[1] for part in parts)
        terms = sp.vstack([_widened(part.terms, width) for part in parts]).tocsr()
        return cls(
            terms=terms,
            **{
                name: np.concatenate([getattr(part, name) for part in parts])
                for name in cls._fields
                if name != "terms"
            },
        )

    def rows(self, rows: npt.NDArray[np.int64]) -> Described:
        """Some of them."""
        return Described(
            embedding=self.embedding[rows],
            text=self.text[rows],
            terms=self.terms[rows],
            price=self.price[rows],
            brand=self.brand[rows],
        )


def describe(model: Any, products: Sequence[Product]) -> Described:
    """Ask a loaded SavedModel, about as long texts together, which saves padding.

    Args:
        model: with the signature `describe_items`.
        products: at least one.
    """
    length = [sum(map(len, product[1:5])) for product in products]
    order = np.argsort(length, kind="stable")
    parts = [
        _described(model, [products[row] for row in order[start : start + BATCH]])
        for start in range(0, len(order), BATCH)
    ]
    return Described.joined(parts).rows(np.argsort(order))


def _described(model: Any, products: Sequence[Product]) -> Described:
    answer = model.signatures["describe_items"](
        **{
            name: tf.constant([getattr(product, name) for product in products])
            for name in features.ITEM_TEXT
        },
        price=tf.constant(
            [math.nan if product.price is None else product.price for product in products],
            tf.float32,
        ),
    )
    found = {name: values.numpy() for name, values in answer.items()}
    row, place = np.nonzero(found["term"] != PAD)
    term = found["term"][row, place]
    width = int(term.max(initial=-1)) + 1
    return Described(
        embedding=found["embedding"],
        text=found["text"],
        terms=sp.csr_matrix(
            (found["term_weight"][row, place], (row, term)), (len(products), width)
        ),
        price=found["price_level"],
        brand=found["brand_code"],
    )


def _widened(matrix: sp.csr_matrix, width: int) -> sp.csr_matrix:
    return sp.csr_matrix((matrix.data, matrix.indices, matrix.indptr), (matrix.shape[0], width))
