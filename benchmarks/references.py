"""The simple methods that Debut has to beat on new items, each a function of an item-cold split.

None is tuned to a data set. Where a method has a setting it is that of its paper or library, or
one that does well on all sets that were looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import tensorflow as tf
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from benchmarks.cold_split import ColdStart
from models.arrays import Doubles, Floats
from models.encoders.encoder import TextEncoder
from models.encoders.folder import PACKAGED, EncoderFolder, open_encoder
from models.encoders.reading import encode
from models.encoders.tokenizer import WordPieceTokenizer
from models.inheritance.ease import ease

WORDS: Final = "words"
MEANING: Final = "meaning"

_MAX_TOKENS: Final = 64
_WORDS_POWER: Final = 3
_MEANING_POWER: Final = 8
_FACTORS: Final = 64
_EPOCHS: Final = 20
_EASE_RIDGE: Final = 200.0
_EASE_OWN: Final = 0.1
_USER_SHRINKAGE: Final = 5.0
_ALPHAS: Final = (0.1, 1.0, 10.0, 100.0, 1000.0)
_SEED: Final = 0


class Likeness(NamedTuple):
    """Of all items to the new ones by one kind of features.

    Attributes:
        features: [I, F] of unit length, dense or sparse.
        cosine: float32 [I, C], not below 0.
        seconds: that it took.
    """

    features: Any
    cosine: Floats
    seconds: float


@dataclass(frozen=True)
class Reference:
    """A method.

    Attributes:
        name: in the table.
        needs: the kinds of likeness that it looks at.
        rank: the split and those to scores [B, C]; None where it only rates.
        rate: the same to ratings float64 [N] of the test's interactions; None where it only ranks.
        library: that has to be installed beside Debut.
    """

    name: str
    needs: tuple[str, ...] = ()
    rank: Callable[[ColdStart, Mapping[str, Likeness]], Floats] | None = None
    rate: Callable[[ColdStart, Mapping[str, Likeness]], Doubles] | None = None
    library: str | None = None


def likeness(shop: ColdStart, *, encoder: str = PACKAGED) -> dict[str, Likeness]:
    """Compare all items with the new ones, by words and by a frozen encoder."""
    found: dict[str, Likeness] = {}
    features: Any
    for kind, make in ((WORDS, words), (MEANING, lambda shop: meaning(shop, encoder))):
        start = time.perf_counter()
        features = make(shop)
        cosine: Any = features @ features[shop.candidates].T
        positive = np.maximum(cosine.toarray() if sp.issparse(cosine) else cosine, 0.0)
        found[kind] = Likeness(features, positive, time.perf_counter() - start)
    return found


def words(shop: ColdStart) -> sp.csr_matrix:
    """TF-IDF of words and pairs of words, sparse [I, terms], rows of unit length."""
    return TfidfVectorizer(
        sublinear_tf=True, min_df=2, ngram_range=(1, 2), max_features=200_000, dtype=np.float32
    ).fit_transform(shop.texts)


def meaning(shop: ColdStart, encoder: str) -> Floats:
    """Sentence vectors of a frozen encoder, float32 [I, hidden], rows of unit length."""
    folder = open_encoder(encoder)
    return encode(TextEncoder(folder), catalogue_tokens(shop, folder))


def catalogue_tokens(shop: ColdStart, folder: EncoderFolder) -> npt.NDArray[np.int32]:
    """Word pieces of the items as the encoder reads them: int32 [I, T], padded."""
    return tokenize(shop.texts, folder, _MAX_TOKENS)


def tokenize(texts: Sequence[str], folder: EncoderFolder, max_tokens: int) -> npt.NDArray[np.int32]:
    """Word pieces of texts: int32 [N, max_tokens], padded."""
    tokenizer = WordPieceTokenizer(folder)
    pieces = tokenizer.pieces(tf.constant(list(texts)))
    tokens: npt.NDArray[np.int32] = tokenizer.encoder_input(pieces, max_tokens).numpy()
    return tokens.astype(np.int32)


def popularity(shop: ColdStart, like: Mapping[str, Likeness]) -> Floats:
    """How much items of like words were bought, the same for every user."""
    everybody = np.asarray(shop.purchases.sum(axis=0)) @ like[WORDS].cosine ** _WORDS_POWER
    return np.repeat(everybody.astype(np.float32), len(shop.tested), axis=0)


def words_knn(shop: ColdStart, like: Mapping[str, Likeness]) -> Floats:
    """Sum of the history's likeness in words; the power lets the nearest items count."""
    return _knn(shop, like[WORDS].cosine ** _WORDS_POWER)


def meaning_knn(shop: ColdStart, like: Mapping[str, Likeness]) -> Floats:
    """The same by the encoder."""
    return _knn(shop, like[MEANING].cosine ** _MEANING_POWER)


def als_with_ridge(shop: ColdStart, like: Mapping[str, Likeness]) -> Floats:
    """ALS (Hu, Koren & Volinsky 2008); factors of new items by ridge regression from their text."""
    from implicit.als import AlternatingLeastSquares

    seen = _seen(shop)
    with threadpool_limits(1, "blas"):  # the library runs threads of its own
        model = AlternatingLeastSquares(factors=_FACTORS, random_state=_SEED)
        model.fit(shop.purchases[:, seen], show_progress=False)
    text = like[MEANING].features
    factors = Ridge().fit(text[seen], model.item_factors).predict(text[shop.candidates])
    scores: Floats = model.user_factors[shop.tested] @ factors.T
    return scores


def ease_by_meaning(shop: ColdStart, like: Mapping[str, Likeness]) -> Floats:
    """EASE aligned by the encoder's likeness."""
    return _aligned(shop, like[MEANING].cosine ** _MEANING_POWER)


def ease_by_words(shop: ColdStart, like: Mapping[str, Likeness]) -> Floats:
    """EASE aligned by likeness in words."""
    return _aligned(shop, like[WORDS].cosine ** _WORDS_POWER)


def ease_by_both(shop: ColdStart, like: Mapping[str, Likeness]) -> Floats:
    """EASE aligned by both, brought to one scale."""
    seen = _seen(shop)
    kernels = (like[MEANING].cosine ** _MEANING_POWER, like[WORDS].cosine ** _WORDS_POWER)
    return _aligned(shop, sum(kernel / kernel[seen].std() for kernel in kernels))


def lightfm(shop: ColdStart, like: Mapping[str, Likeness]) -> Floats:
    """LightFM (Kula 2015) with WARP: an item is the sum of what it is and of its words."""
    from lightfm import LightFM

    items = len(shop.item_ids)
    words = normalize(
        CountVectorizer(binary=True, min_df=2, dtype=np.float32).fit_transform(shop.texts), "l1"
    )
    model = LightFM(no_components=_FACTORS, loss="warp", random_state=_SEED)
    features = sp.hstack([sp.identity(items, np.float32), words], format="csr")
    model.fit(shop.purchases.tocoo(), item_features=features, epochs=_EPOCHS)
    # Without the new items' own embeddings, which nothing has trained.
    factors = words[shop.candidates] @ model.item_embeddings[items:]
    biases = words[shop.candidates] @ model.item_biases[items:]
    scores: Floats = model.user_embeddings[shop.tested] @ factors.T + biases
    return scores


def mean_rating(shop: ColdStart, like: Mapping[str, Likeness]) -> Doubles:
    """The mean of all."""
    return np.full(len(shop.test.user), shop.train.rating.mean())


def rating_baseline(shop: ColdStart, like: Mapping[str, Likeness]) -> Doubles:
    """The mean, a bias of the user, and what an item's text tells by ridge regression."""
    train, text = shop.train, like[MEANING].features
    mean = train.rating.mean()
    rest = train.rating - mean
    given = np.bincount(train.user, minlength=len(shop.user_ids))
    bias = np.bincount(train.user, rest, len(shop.user_ids)) / (given + _USER_SHRINKAGE)
    rest -= bias[train.user]
    count = np.bincount(train.item, minlength=len(shop.item_ids))
    seen = np.flatnonzero(count)
    item = np.bincount(train.item, rest, len(shop.item_ids))[seen] / count[seen]
    ridge = RidgeCV(_ALPHAS).fit(text[seen], item, sample_weight=count[seen])
    predicted = mean + bias[shop.test.user] + ridge.predict(text)[shop.test.item]
    rated: Doubles = np.clip(predicted, 0.0, 1.0)
    return rated


REFERENCES: Final = (
    Reference("popularity, words", (WORDS,), popularity),
    Reference("TF-IDF kNN", (WORDS,), words_knn),
    Reference("frozen encoder kNN", (MEANING,), meaning_knn),
    Reference("ALS, text ridge", (MEANING,), als_with_ridge, library="implicit"),
    Reference("LightFM, words", (), lightfm, library="lightfm"),
    Reference("EASE by encoder", (MEANING,), ease_by_meaning),
    Reference("EASE by TF-IDF", (WORDS,), ease_by_words),
    Reference("EASE by both", (MEANING, WORDS), ease_by_both),
    Reference("mean rating", rate=mean_rating),
    Reference("user bias, ridge", (MEANING,), rate=rating_baseline),
)


def _seen(shop: ColdStart) -> npt.NDArray[np.int64]:
    return np.flatnonzero(shop.purchases.getnnz(axis=0))


def _knn(shop: ColdStart, kernel: Floats) -> Floats:
    scores: Floats = shop.purchases[shop.tested] @ kernel
    return scores


def _aligned(shop: ColdStart, kernel: Floats) -> Floats:
    """Scores of seen items by EASE, averaged over those that a new item is like.

    After MARec (Monteil et al. 2024, arXiv:2404.13298).
    """
    seen = _seen(shop)
    known = shop.purchases[:, seen]
    weights = ease(known, _EASE_RIDGE)
    weights[np.diag_indices_from(weights)] += np.float32(_EASE_OWN)
    shares = kernel[seen] / (kernel[seen].sum(axis=0, keepdims=True) + 1e-9)
    scores: Floats = (known[shop.tested] @ weights) @ shares
    return scores
