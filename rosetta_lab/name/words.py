"""The words that concepts are scored against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta_lab.data.fashion import captions
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import path_of
from rosetta_lab.models.text import TextImageModel
from rosetta_lab.run.foreign import read_text

FASHION, ANY = "fashion", "word"
MOST_WORDS = 20_000


@dataclass
class Vocabulary:
    """Words and what they are read in.

    Attributes:
        words: each once.
        kinds: of the words, such as colours; ``word`` where there are no kinds.
        captions: that stand for each word.
    """

    words: list[str]
    kinds: list[str]
    captions: list[list[str]]

    def of_kind(self, kind: str) -> list[int]:
        """Places of the words of a kind."""
        return [place for place, own in enumerate(self.kinds) if own == kind]


def load_vocabulary(source: str, text: TextImageModel) -> Vocabulary:
    """Words of a text file, one a line, or ``fashion``: all that captions say of garment scenes.

    Raises:
        RosettaError: there is no such file, or it has no words, or too many.
    """
    if source == FASHION:
        words, kinds, read = zip(*captions.vocabulary(), strict=True)
        return Vocabulary(list(words), list(kinds), list(read))
    try:
        lines = read_text(path_of(source)).splitlines()
    except FileNotFoundError:
        raise RosettaError(
            f"vocabulary={source}: there is no such file.\n"
            f"Name a text file with one word or phrase a line, or {FASHION}."
        ) from None
    found = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not 2 <= len(found) <= MOST_WORDS:
        raise RosettaError(
            f"vocabulary={source}: {len(found):,} words, expected 2 to {MOST_WORDS:,}.\n"
            "Put one word or phrase in each line."
        )
    return Vocabulary(found, [ANY] * len(found), [text.captions(word) for word in found])


def nonsense(text: TextImageModel, read: Sequence[Sequence[str]], lists: int, seed: int) -> Tensor:
    """Lists of as many meaningless words, each as long as one of a word's captions (L, W, D)."""
    source = torch.Generator().manual_seed(seed)
    first = [some[0] for some in read]
    return torch.stack([text.of_nonsense(first, source) for _ in range(lists)])
