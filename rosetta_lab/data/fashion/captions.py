"""Captions of the scenes: what a text tower of the embedded zoo reads, and its words.

>>> caption(TEMPLATES[0], Facts("sneaker", "red", "small", "on the left"))
'a photo of a small red sneaker on the left'
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from rosetta_lab.data.fashion.scenes import CLASSES, Scenes

COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
# Hue in degrees at which a colour ends; red begins again after pink.
_HUE_ENDS = (15.0, 45.0, 75.0, 165.0, 195.0, 260.0, 290.0, 345.0)
SIZES = ("small", "medium", "large")
_SCALE_ENDS = (0.58, 0.72)
PLACES = (
    ("at the top left", "at the top", "at the top right"),
    ("on the left", "in the middle", "on the right"),
    ("at the bottom left", "at the bottom", "at the bottom right"),
)
_PLACE_ENDS = (0.45, 0.55)
GARMENTS = tuple("pair of trousers" if name == "trousers" else name for name in CLASSES)
TEMPLATES = (
    "a photo of a {size} {colour} {garment} {place}",
    "a {size} {colour} {garment} {place}",
    "there is a {colour} {garment} {place}",
    "a {colour} {garment}",
    "a {size} {garment}",
    "a photo of a {garment}",
    "a {garment}",
    "something {colour}",
)
CONTEXT_LENGTH = 16


@dataclass(frozen=True)
class Facts:
    """What a caption may say of a scene."""

    garment: str
    colour: str
    size: str
    place: str


def colour_names(hue: Tensor) -> Tensor:
    """Index into ``COLOURS`` of hues in degrees in [0, 360)."""
    return torch.bucketize(hue, torch.tensor(_HUE_ENDS), right=True) % len(COLOURS)


def facts(scenes: Scenes) -> list[Facts]:
    """The true facts of every scene."""
    return facts_of(scenes.label, scenes.hue, scenes.centre, scenes.scale)


def facts_of(label: Tensor, hue: Tensor, centre: Tensor, scale: Tensor) -> list[Facts]:
    """The facts of N scenes, whose fields are as those of :class:`Scenes`."""
    column, row = torch.bucketize(centre, torch.tensor(_PLACE_ENDS)).unbind(dim=1)
    sizes = torch.bucketize(scale, torch.tensor(_SCALE_ENDS))
    rows = zip(
        label.tolist(),
        colour_names(hue).tolist(),
        sizes.tolist(),
        row.tolist(),
        column.tolist(),
        strict=True,
    )
    return [Facts(GARMENTS[g], COLOURS[c], SIZES[s], PLACES[y][x]) for g, c, s, y, x in rows]


def caption(template: str, known: Facts) -> str:
    """Fill in a template; "a" becomes "an" where it should."""
    return re.sub(r"\ba (?=[aeiou])", "an ", template.format(**asdict(known)))


def prompts(attribute: str) -> list[list[str]]:
    """Zero-shot prompts: for each class (``garment``) or colour name (``colour``), its captions.

    They are the templates that name this attribute and nothing else.
    """
    values = {"garment": GARMENTS, "colour": COLOURS}[attribute]
    alone = [t for t in TEMPLATES if re.findall(r"{(\w+)}", t) == [attribute]]
    unknown = dict.fromkeys(("garment", "colour", "size", "place"), "")
    return [[caption(t, Facts(**{**unknown, attribute: v})) for t in alone] for v in values]


VALUES = {
    "garment": GARMENTS,
    "colour": COLOURS,
    "size": SIZES,
    "place": tuple(place for row in PLACES for place in row),
}


def vocabulary() -> list[tuple[str, str, list[str]]]:
    """All that captions say of a scene: word, kind, and the captions that stand for it.

    Where a template names nothing but the word's kind, these. Sizes and places stand in none alone:
    theirs are of every garment, or of every garment in every colour, that say nothing else.
    """
    about = {"size": TEMPLATES[4], "place": TEMPLATES[2]}
    words = [
        (value, kind, captions)
        for kind in ("garment", "colour")
        for value, captions in zip(VALUES[kind], prompts(kind), strict=True)
    ]
    for kind, template in about.items():
        for value in VALUES[kind]:
            every = {
                caption(template, replace(Facts(garment, colour, "", ""), **{kind: value}))
                for garment in GARMENTS
                for colour in COLOURS
            }
            words.append((value, kind, sorted(every)))
    return words


def _words() -> list[str]:
    phrases = [*GARMENTS, *COLOURS, *SIZES, *(p for row in PLACES for p in row)]
    text = " ".join([*phrases, *(re.sub(r"{\w+}", "", t) for t in TEMPLATES), "an"])
    return sorted(set(text.split()))


class Tokenizer:
    """Words to token ids, as captions use them: 0 pads, then the words, then start and end.

    The end has the highest id, because open_clip's text tower reads its output where the id is
    highest.
    """

    def __init__(self) -> None:
        self.ids = {word: i for i, word in enumerate(["", *_words(), "<start>", "<end>"])}

    def __len__(self) -> int:
        return len(self.ids)

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """Captions to token ids (N, CONTEXT_LENGTH).

        Raises:
            KeyError: a word that no caption of the scenes has.
        """
        tokens = torch.zeros(len(captions), CONTEXT_LENGTH, dtype=torch.long)
        for row, text in zip(tokens, captions, strict=True):
            words = ["<start>", *text.split(), "<end>"]
            row[: len(words)] = torch.tensor([self.ids[word] for word in words])
        return tokens
