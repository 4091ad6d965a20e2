"""Letters of five by seven dots, as lead markers spell them."""

from functools import cache

import numpy as np
import numpy.typing as npt

from medaug.errors import AugmentationError

_ROWS = {
    "A": "01110 10001 10001 11111 10001 10001 10001",
    "B": "11110 10001 10001 11110 10001 10001 11110",
    "C": "01111 10000 10000 10000 10000 10000 01111",
    "D": "11110 10001 10001 10001 10001 10001 11110",
    "E": "11111 10000 10000 11110 10000 10000 11111",
    "I": "11111 00100 00100 00100 00100 00100 11111",
    "L": "10000 10000 10000 10000 10000 10000 11111",
    "N": "10001 11001 11001 10101 10011 10011 10001",
    "O": "01110 10001 10001 10001 10001 10001 01110",
    "P": "11110 10001 10001 11110 10000 10000 10000",
    "R": "11110 10001 10001 11110 10100 10010 10001",
    "S": "01111 10000 10000 01110 00001 00001 11110",
    "T": "11111 00100 00100 00100 00100 00100 00100",
    "U": "10001 10001 10001 10001 10001 10001 01110",
}


@cache
def word_dots(word: str) -> npt.NDArray[np.bool_]:
    """Spell a word: (7, 6 · letters - 1) dots, one empty column between letters.

    Raises:
        AugmentationError: for an empty word or a letter that has no picture here.
    """
    missing = sorted(set(word) - set(_ROWS))
    if missing or not word:
        raise AugmentationError("Markers", f"cannot spell {word!r}; words are made of {''.join(_ROWS)}")
    dots = np.zeros((7, 6 * len(word) - 1), bool)
    for place, letter in enumerate(word):
        dots[:, 6 * place : 6 * place + 5] = [[dot == "1" for dot in row] for row in _ROWS[letter].split()]
    return dots
