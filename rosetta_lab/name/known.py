"""Whether names are right, where it is known what the images show.

A word is chosen by some images and checked on the others: it is right where, of its kind, it is the
word that is true of more of the images on which the concept fires most than of all by the largest
difference. How many of these it is true of is told, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta_lab.data.fashion.captions import Facts, facts_of
from rosetta_lab.functional.bootstrap import bootstrap_means
from rosetta_lab.functional.naming import Named
from rosetta_lab.invert.problem import TargetBatch
from rosetta_lab.name.heat import Shown, strongest
from rosetta_lab.name.naming import Scored
from rosetta_lab.name.words import ANY, Vocabulary

FIELDS = {"hue", "centre_x", "centre_y", "scale"}


def known_facts(batches: Sequence[TargetBatch]) -> list[Facts] | None:
    """The facts of every image; None where they are not known of all."""
    truth = [true for batch in batches for true in batch.truth]
    labels = [label for batch in batches for label in batch.labels]
    if not all(true.keys() >= FIELDS for true in truth) or None in labels:
        return None
    values = {key: torch.tensor([true[key] for true in truth]) for key in FIELDS}
    centre = torch.stack([values["centre_x"], values["centre_y"]], dim=1)
    return facts_of(torch.tensor(labels), values["hue"], centre, values["scale"])


def truth_of(facts: Sequence[Facts], vocabulary: Vocabulary) -> Tensor:
    """Which words are true of which images (N, W), bool."""
    words = list(zip(vocabulary.words, vocabulary.kinds, strict=True))
    return torch.tensor([[getattr(one, kind) == word for word, kind in words] for one in facts])


@dataclass
class Checked:
    """How often the words of a kind are right.

    Attributes:
        kind: of the words; ``any`` for the best of all.
        crops: ``strongest`` or ``shuffled``.
        concepts: how many there are.
        named: how many have a name.
        right: how many of these names are right.
        guessed: how many would be right by chance, were the kind's words drawn at random.
        share: of the concept's other images, those that a name is true of, mean over names.
        low, high: its interval over the names.
        base: share of all images that a name is true of, mean over names.
    """

    kind: str
    crops: str
    concepts: int
    named: int
    right: int
    guessed: float
    share: float | None
    low: float | None
    high: float | None
    base: float | None


def check(
    kind: str, crops: str, named: Named, words: list[int], vocabulary: Vocabulary, true: Tensor,
    top: Tensor, max_chance: float,
) -> Checked:  # fmt: skip
    """See how often names are right.

    Args:
        kind: see :class:`Checked`.
        crops: likewise.
        named: the best of ``words`` for every concept.
        words: places in the vocabulary of those that were to choose from.
        vocabulary: all words.
        true: which are true of which images (N, W), of the other images alone.
        top: the other images on which each concept fires most (C, n).
        max_chance: a name's.
    """
    base = true.double().mean(dim=0)  # (W,)
    share = true[top].double().mean(dim=1)  # (C, W)
    gain = share - base
    right, guessed, shares, bases = 0, 0.0, [], []
    for concept in (named.chance <= max_chance).nonzero().flatten().tolist():
        word = words[int(named.best[concept])]
        own = vocabulary.of_kind(vocabulary.kinds[word])
        right += int(gain[concept, own].argmax()) == own.index(word)
        guessed += 1.0 / len(own)
        shares.append(float(share[concept, word]))
        bases.append(float(base[word]))
    known = bootstrap_means(torch.tensor(shares)[:, None]) if shares else None
    return Checked(
        kind,
        crops,
        len(top),
        len(shares),
        right,
        guessed,
        None if known is None else float(known.mean),
        None if known is None else float(known.low),
        None if known is None else float(known.high),
        sum(bases) / len(bases) if bases else None,
    )


def checks(
    shown: Shown, scored: Mapping[str, Scored], vocabulary: Vocabulary, others: list[int],
    crops: int, max_chance: float,
) -> list[Checked]:  # fmt: skip
    """Every kind's check, and that of the best words; none where nothing is known of the images.

    Args:
        shown: images.
        scored: by what crops the words were chosen.
        vocabulary: of them; with kinds.
        others: numbers of the images that nothing was named by.
        crops: how many images on which a concept fires most are looked at.
        max_chance: a name's.
    """
    facts = known_facts(shown.batches)
    if facts is None or ANY in vocabulary.kinds:
        return []
    true = truth_of([facts[place] for place in others], vocabulary)
    top = strongest(shown.heat[others], crops, range(len(others)))
    kinds: dict[str, list[int]] = {"any": list(range(len(vocabulary.words)))}
    kinds |= {kind: vocabulary.of_kind(kind) for kind in dict.fromkeys(vocabulary.kinds)}
    return [
        check(kind, name, found.named(words), words, vocabulary, true, top, max_chance)
        for kind, words in kinds.items()
        for name, found in scored.items()
    ]
