"""What a script costs: the same shop, its titles written in other scripts.

Nothing but the writing changes, so what is lost is lost by reading. Letters are replaced by others;
in Chinese each word becomes two characters. Thai and Chinese have no blanks.

python -m benchmarks languages
"""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click
import numpy as np
import scipy.sparse as sp
import tensorflow as tf

from benchmarks.cold_split import ColdStart, make_split, read_split
from models.arrays import Floats
from models.curves import without_encoder
from models.encoders import lexical
from models.encoders.encoder import TextEncoder
from models.encoders.folder import PACKAGED, SCRATCH, EncoderFolder, open_encoder
from models.encoders.reading import encode
from models.encoders.scratch.encoder import train_encoder
from models.encoders.tokenizer import WordPieceTokenizer
from models.inheritance.aligned_launch import AlignedLaunch
from models.inheritance.kernel import NO_BRAND, ItemView
from models.inheritance.selection import START
from models.inheritance.simulation import SimulatedLaunch, most_popular
from pipeline.commands.configuring import PATH
from pipeline.commands.terminal import new_table, open_console, print_table
from pipeline.config import Configuration, load_configuration
from pipeline.layout import SAMPLE

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_CYRILLIC: Final = "абвгдежзиклмнопрстуфхцчшщы"
_ARABIC: Final = "ابتثجحخدذرزسشصضطظعغفقكلمنه"
_THAI: Final = "กขคฆงจฉชซญฎฏฐฑฒณดตถทธนบปผฝ"
_COMMON_HAN: Final = range(0x4E00, 0x4E00 + 2000)
_WORD: Final = re.compile(r"[a-z]+")
# Neither where items stand in the order of ids nor prices count: only what is read.
_SETTINGS: Final = START._replace(order=0.0, side=0.0)


def _letter_by_letter(letters: str) -> Callable[[str], str]:
    table = str.maketrans(_LETTERS, letters)
    return lambda text: text.lower().translate(table)


def _chinese(text: str) -> str:
    def two(match: re.Match[str]) -> str:
        return "".join(map(chr, random.Random(match[0]).choices(_COMMON_HAN, k=2)))

    return _WORD.sub(two, text.lower()).replace(" ", "")


SCRIPTS: Final[dict[str, Callable[[str], str]]] = {
    "Latin": str,
    "Cyrillic": _letter_by_letter(_CYRILLIC),
    "Arabic": _letter_by_letter(_ARABIC),
    "Thai": lambda text: _letter_by_letter(_THAI)(text).replace(" ", ""),
    "Chinese": _chinese,
}


@click.command()
@click.option("--data", type=PATH, default=SAMPLE, help="Whose titles.")
@click.option("--seed", default=101, show_default=True, help="Of the split.")
@click.option("--only", multiple=True, type=click.Choice(list(SCRIPTS)), help="Scripts to measure.")
def languages(data: Path, seed: int, only: tuple[str, ...]) -> None:
    """Recall@20 on new items, with titles in several scripts."""
    console = open_console()
    config = load_configuration()
    with tempfile.TemporaryDirectory() as scratch:
        make_split(data, Path(scratch) / "split", seed=seed)
        shop = read_split(Path(scratch) / "split")
        launch = _launch(shop, config)
        table = new_table(
            "script", "encoder", "word pieces alone", "terms alone", "with encoder", numbers_from=2
        )
        for script in only or SCRIPTS:
            titles = [SCRIPTS[script](text.split(" . ")[0]) for text in shop.texts]
            for name in (PACKAGED, SCRATCH):
                with console.status(f"{script}, {name}"):
                    folder = _folder(name, titles, Path(scratch) / script, config)
                    recalls = measure(folder, titles, launch, config.features.max_tokens)
                row = (script, name, *(f"{recall:.3f}" for recall in recalls))
                console.print(", ".join(row))
                table.add_row(*row)
    print_table(console, "Recall@20 on new items, by texts alone", table)


def measure(
    folder: EncoderFolder, titles: Sequence[str], launch: SimulatedLaunch, max_tokens: int
) -> tuple[float, float, float]:
    """Recall@20 by word pieces alone, by terms alone, and by terms and encoder.

    Args:
        folder: of the encoder.
        titles: of I items.
        launch: who wants what of them.
        max_tokens: that the encoder reads.
    """
    tokenizer = WordPieceTokenizer(folder)
    words, pieces = tokenizer.words(tf.constant(list(titles)))
    units = tokenizer.units(words, pieces)
    tokens = tokenizer.encoder_input(pieces.merge_dims(-2, -1), max_tokens).numpy()
    text = encode(TextEncoder(folder), tokens.astype(np.int32))

    def recall(read: tf.RaggedTensor, see: Callable[[ItemView], ItemView]) -> float:
        terms = _tfidf(lexical.terms(read.merge_dims(-2, -1), folder.vocabulary_size))
        view = see(_view(text, terms))
        return AlignedLaunch.align(launch, view, _SETTINGS).quality()["recall"]

    return (
        recall(pieces, without_encoder),
        recall(units, without_encoder),
        recall(units, lambda view: view),
    )


def _folder(
    name: str, titles: Sequence[str], scratch: Path, config: Configuration
) -> EncoderFolder:
    if name != SCRATCH:
        return open_encoder(name)
    train_encoder(
        sorted(set(titles)), scratch, options=config.scratch,
        max_tokens=config.features.max_tokens, seed=config.training.seed,
    )  # fmt: skip
    return open_encoder(str(scratch))


def _launch(shop: ColdStart, config: Configuration) -> SimulatedLaunch:
    """The hidden items, asked of what the rest of the split knows."""
    purchases = shop.purchases.tolil()
    purchases[np.ix_(shop.tested, shop.candidates)] = shop.wanted
    popularity = shop.purchases.getnnz(axis=0)
    return SimulatedLaunch.hide(
        purchases.tocsr(),
        targets=shop.candidates,
        anchors=most_popular(popularity, popularity > 0, config.model.max_anchors),
        regularization=config.model.teacher_regularization,
    )


def _tfidf(terms: tf.RaggedTensor) -> sp.csr_matrix:
    """As `tft.tfidf` weighs them, rows of unit length."""
    values, columns = np.unique(terms.values.numpy(), return_inverse=True)
    shape = (int(terms.nrows()), len(values))
    counts = sp.csr_matrix(
        (np.ones(len(columns), np.float32), columns, terms.row_splits.numpy()), shape
    )
    counts.sum_duplicates()
    rarity = 1.0 + np.log((shape[0] + 1) / (1.0 + counts.getnnz(axis=0)))
    weighted = counts @ sp.diags(rarity.astype(np.float32))
    length = np.sqrt(weighted.multiply(weighted).sum(axis=1))
    return sp.diags(1.0 / np.maximum(np.asarray(length).ravel(), 1e-9)) @ weighted


def _view(text: Floats, terms: sp.csr_matrix) -> ItemView:
    items = len(text)
    return ItemView(
        text=text,
        terms=terms.astype(np.float32).tocsr(),
        place=np.zeros(items, np.float32),
        price=np.full(items, np.nan, np.float32),
        brand=np.full(items, NO_BRAND, np.int64),
    )
