"""Model cards: what a pushed version was made of, how good it is, and what it is not good for.

The JSON has the form of Model Card Toolkit's schema 0.0.2, so that its tools read it; the page is
rendered from the JSON alone. The toolkit itself wants versions of TFMA that TFX 1.16 does not have.
"""

from pipeline.model_card.writing import card_file, write_card

__all__ = ["card_file", "write_card"]
