"""A sparse matrix as the arrays it is made of, for files that hold arrays alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy.typing as npt
import scipy.sparse as sp

_PARTS: Final = ("data", "indices", "indptr", "shape")


def to_arrays(name: str, matrix: sp.csr_matrix) -> dict[str, Any]:
    """The parts of a matrix, each under `name.part`."""
    return {f"{name}.{part}": getattr(matrix, part) for part in _PARTS}


def of_arrays(name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> sp.csr_matrix:
    """The matrix whose parts `to_arrays` named."""
    data, indices, indptr, shape = (arrays[f"{name}.{part}"] for part in _PARTS)
    return sp.csr_matrix((data, indices, indptr), tuple(shape))
