"""A vocabulary from the texts themselves: all characters, then frequent words.

In a language without blanks between words it is a vocabulary of characters. A rare word of another
language is spelled. The trainers of Hugging Face's library would also find parts of words, but not
the same ones twice: where two are as frequent, chance decides, and a run could not be repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Of the texts' tokenizer. Accents stay: without them й is и, が is か, and Hindi has no vowels.
SETTINGS: Final = {"do_lower_case": True, "strip_accents": False}
_GOES_ON: Final = "##"  # before a piece that does not begin a word
_OFTEN: Final = 2


def learn_pieces(texts: Iterable[str], size: int) -> list[str]:
    """A vocabulary by id, [PAD] being 0.

    Args:
        texts: whose characters and words count.
        size: at most so many pieces, the special ones included. Where there are more characters,
            rare ones are left out; what a character is counts once where it begins words and once
            where it goes on one.
    """
    words = _words(texts)
    characters: Counter[str] = Counter()
    for word, count in words.items():
        for place, character in enumerate(word):
            characters[f"{_GOES_ON if place else ''}{character}"] += count
    whole = {word: n for word, n in words.items() if len(word) > 1 and n >= _OFTEN}
    return [*SPECIAL, *_ranked(characters), *_ranked(whole)][:size]


def _words(texts: Iterable[str]) -> Counter[str]:
    """As `models.encoders.tokenizer` splits them, with how often each occurs."""
    normalizer = BertNormalizer(
        lowercase=SETTINGS["do_lower_case"], strip_accents=SETTINGS["strip_accents"]
    )
    splitter = BertPreTokenizer()
    return Counter(
        word
        for text in texts
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))
    )


def _ranked(counts: dict[str, int]) -> list[str]:
    """Most frequent first; of equally frequent ones the first in code order."""
    return sorted(counts, key=lambda piece: (-counts[piece], piece))
