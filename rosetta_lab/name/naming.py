"""Names of concepts, from the crops on which they fire most; and of crops at random."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta_lab.dictionary.names import Name
from rosetta_lab.functional.naming import Named, name, scores
from rosetta_lab.models.text import TextImageModel
from rosetta_lab.name.heat import Shown, strongest, weighted
from rosetta_lab.name.words import Vocabulary

OTHERS = 512  # crops that a word's nearness is compared over, at least


@dataclass
class Scored:
    """What words say of concepts.

    Attributes:
        crops: numbers of the images that were looked at, by concept (C, n).
        words: scores of the vocabulary (C, W).
        lists: scores of meaningless words (L, C, W).
        shuffled: scores of the vocabulary for sets of other crops (S, W).
    """

    crops: Tensor
    words: Tensor
    lists: Tensor
    shuffled: Tensor

    def named(self, places: list[int] | None = None) -> Named:
        """The best word of every concept, among all or some of the vocabulary.

        Args:
            places: of these words; lists of meaningless words are as long.
        """
        some = slice(None) if places is None else places
        return name(self.words[:, some], self.lists[:, :, some], self.shuffled[:, some])


class Namer:
    """Scores a vocabulary against concepts.

    Args:
        shown: images and their heat.
        text: reads words and looks at crops.
        vocabulary: the words.
        nonsense: lists of meaningless words (L, W, D).
        seed: of the crops that concepts' own are compared with.
        batch_size: crops at a time.
    """

    def __init__(
        self,
        shown: Shown,
        text: TextImageModel,
        vocabulary: Vocabulary,
        nonsense: Tensor,
        seed: int = 0,
        batch_size: int = 64,
    ) -> None:
        self.shown, self.text, self.batch_size = shown, text, batch_size
        self.source = torch.Generator().manual_seed(seed)
        self.words = text.of_words(vocabulary.captions).cpu()
        self.nonsense = nonsense.cpu()
        concepts = shown.heat.shape[1]
        self.others = self._look(self.shuffled(-(-OTHERS // concepts))).flatten(0, 1)

    def strongest(self, count: int, among: list[int]) -> Scored:
        """Scores by the crops on which each concept fires most, of some images."""
        return self._score(strongest(self.shown.heat, count, among))

    def at_random(self, count: int) -> Scored:
        """Scores by crops of any images, where each concept's heat there is."""
        return self._score(self.shuffled(count))

    def shuffled(self, count: int) -> Tensor:
        """Numbers of any images (C, count)."""
        images, concepts = self.shown.heat.shape[:2]
        return torch.randint(images, (concepts, count), generator=self.source)

    def _score(self, crops: Tensor) -> Scored:
        seen = self._look(crops)
        lists = torch.stack([scores(seen, self.others, some) for some in self.nonsense])
        size = (len(self.nonsense), crops.shape[1])
        others = self.others[torch.randint(len(self.others), size, generator=self.source)]
        shuffled = scores(others, self.others, self.words)
        return Scored(crops, scores(seen, self.others, self.words), lists, shuffled)

    def _look(self, crops: Tensor) -> Tensor:
        """Vectors of crops (C, n, D)."""
        concepts, count = crops.shape
        of_concept = torch.arange(concepts)[:, None].expand(-1, count).flatten()
        places, vectors = crops.flatten(), []
        device = next(self.text.parameters()).device
        for some in torch.arange(len(places)).split(self.batch_size):
            heat = self.shown.heat[places[some], of_concept[some]]
            seen = weighted(self.shown.images[places[some]], heat)
            vectors.append(self.text.of_images(seen.to(device)).cpu())
        return torch.cat(vectors).reshape(concepts, count, -1)


def names_of(named: Named, vocabulary: Vocabulary, max_chance: float) -> list[Name]:
    """What every concept is called; no name where meaningless words do as well."""
    found = []
    for concept, (best, score, second, next_best, chance) in enumerate(
        zip(*(part.tolist() for part in named), strict=True)
    ):
        word = vocabulary.words[best]
        found.append(
            Name(
                concept=concept,
                name=word if chance <= max_chance else None,
                word=word,
                score=round(score, 3),
                runner_up=vocabulary.words[second] if second >= 0 else None,
                runner_up_score=round(next_best, 3) if second >= 0 else None,
                chance=round(chance, 4),
            )
        )
    return found
