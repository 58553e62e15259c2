"""The Rosetta dictionary: neurons, concepts, how they were found; saving and loading."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from rosetta_lab.dictionary.record import (
    DIGEST,
    CardRecord,
    check_dictionary,
    check_digest,
    check_pairs,
    digest_of,
)
from rosetta_lab.errors import RosettaError, printable
from rosetta_lab.files import atomic_write, load_tensors, save_tensors
from rosetta_lab.models.units import Layer, Unit, UnitIndex
from rosetta_lab.run.foreign import read_json

SCHEMA = "rosetta_lab.dictionary/2"
READABLE = ("rosetta_lab.dictionary/1", SCHEMA)
FILE_NAME = "dictionary.json"
BUDDIES, EVIDENCE = "best_buddies.safetensors", "evidence.safetensors"


# What a neuron's record holds beside its units.
OF_NEURON = ("score", "concept", "q", "stability", "position_only")


@dataclass
class ModelCard:
    """A model as the dictionary remembers it.

    Attributes:
        name: the reference model's, or a discriminative one's.
        weights: ``source`` and ``sha256``.
        layers: recorded layers with shapes.
        preprocess: how images reached it (discriminative models).
    """

    name: str
    weights: dict[str, str | None]
    layers: list[Layer]
    preprocess: dict[str, Any] | None = None

    @property
    def units(self) -> UnitIndex:
        return UnitIndex(self.layers)


@dataclass
class Match:
    """A discriminative model's unit and its correlation r with the reference model's.

    What follows is known where the run had a null (and schema 1 does not know it).

    Attributes:
        layer: of the model.
        channel: of the layer.
        r: of all images and positions together (paper, Eq. 2).
        r_position: what r would be by the units' mean maps alone.
        r_centred: r of what is left when each position's mean is removed.
        r_shuffled: r with shuffled images, of one draw.
        q: the least false discovery rate at which the match is accepted, by its centred r.
        r_low: lower end of r's 95 % interval, by the jackknife over parts of the images.
        r_high: its upper end.
    """

    layer: str
    channel: int
    r: float
    r_position: float | None = None
    r_centred: float | None = None
    r_shuffled: float | None = None
    q: float | None = None
    r_low: float | None = None
    r_high: float | None = None

    @property
    def unit(self) -> Unit:
        return Unit(self.layer, self.channel)


@dataclass
class RosettaNeuron:
    """A unit of the reference model with its best buddies in every model, best first.

    Attributes:
        unit: of the reference model.
        matches: model name to best buddies; the accepted ones, unless it is ``position_only``.
        score: the mean over models of the best r.
        concept: its concept's number; -1 for none.
        q: the least false discovery rate at which it is accepted; None without a null.
        stability: share of half samples of the images that find it again; None if not measured.
        position_only: whether it is matched by where its units fire, without evidence that they
            fire at the same content.
    """

    unit: Unit
    matches: dict[str, list[Match]]
    score: float
    concept: int = -1
    q: float | None = None
    stability: float | None = None
    position_only: bool = False


@dataclass
class Concept:
    """A cluster of Rosetta neurons: connected through best buddies in its own model.

    ``neurons`` indexes the dictionary's neurons, best first; ``representative`` is the best one.
    """

    id: int
    neurons: list[int]
    representative: int
    score: float


@dataclass(repr=False)
class RosettaDictionary:
    """What a mining run found. Neurons and concepts are sorted by score, best first.

    ``position_only`` holds what the paper's rule finds beside ``neurons``, without evidence that it
    is more than units which like the same places.

    ``buddies`` holds every best buddy pair with each model, matched by the others or not: numbers
    of units, reference and model, and the smallest K at which they are best buddies (P, 3).
    ``evidence`` holds by model what is known of these pairs, ``r``, ``r_position``, ``r_centred``,
    ``r_shuffled`` and ``q`` (P,) each, and ``decoys``, the best buddies of the first shuffle's
    images (P', 2), with their ``decoys_centred`` (P',), which older dictionaries have not; it is
    empty without a null. Both have files of their own.
    """

    reference: ModelCard
    discriminative: dict[str, ModelCard]
    neurons: list[RosettaNeuron]
    concepts: list[Concept]
    seed: int
    num_images: int
    k: int
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    created: str = ""
    rosetta_lab: str = ""
    position_only: list[RosettaNeuron] = field(default_factory=list)
    buddies: dict[str, Tensor] = field(default_factory=dict, compare=False, repr=False)
    evidence: dict[str, dict[str, Tensor]] = field(default_factory=dict, compare=False, repr=False)

    def __repr__(self) -> str:
        return (
            f"Rosetta dictionary of {self.reference.name} and {len(self.discriminative)} models: "
            f"{len(self.neurons)} neurons in {len(self.concepts)} concepts"
        )

    @property
    def of_generator(self) -> bool:
        """Whether the reference is a generator, which no images reach."""
        return self.reference.preprocess is None

    @property
    def candidates(self) -> list[RosettaNeuron]:
        """All that the paper's rule finds: the Rosetta neurons, then what is matched by place."""
        return [*self.neurons, *self.position_only]

    def to_json(self) -> dict[str, Any]:
        """The dictionary as plain JSON values, see ``SCHEMA``."""

        def card(model: ModelCard) -> dict[str, Any]:
            record = asdict(model)
            if model.preprocess is None:
                del record["preprocess"]
            return record

        return {
            "schema": SCHEMA,
            "created": self.created,
            "rosetta_lab": self.rosetta_lab,
            "config": self.config,
            "seed": self.seed,
            "num_images": self.num_images,
            "k": self.k,
            "generator": card(self.reference),
            "discriminative": {name: card(model) for name, model in self.discriminative.items()},
            "neurons": [
                {
                    "generator": neuron.unit._asdict(),
                    "matches": {
                        name: [_known(match) for match in matches]
                        for name, matches in neuron.matches.items()
                    },
                    **{key: value for key, value in _known(neuron).items() if key in OF_NEURON},
                }
                for neuron in self.candidates
            ],
            "concepts": [asdict(concept) for concept in self.concepts],
            "summary": self.summary,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> RosettaDictionary:
        """Inverse of :meth:`to_json`.

        Raises:
            RosettaError: another schema, or a record that does not follow it.
        """
        schema = record.get("schema") if isinstance(record, Mapping) else None
        if schema not in READABLE:
            raise RosettaError(
                f"Not a Rosetta dictionary: schema is {printable(repr(schema))}, "
                f"expected {' or '.join(map(repr, READABLE))}."
            )
        check_digest(record)
        checked = check_dictionary(record)

        def card(model: CardRecord) -> ModelCard:
            layers = [Layer(**dict(layer)) for layer in model.layers]
            return ModelCard(model.name, model.weights, layers, model.preprocess)

        neurons = [
            RosettaNeuron(
                unit=Unit(neuron.generator.layer, neuron.generator.channel),
                matches={
                    name: [Match(**dict(match)) for match in matches]
                    for name, matches in neuron.matches.items()
                },
                **{key: getattr(neuron, key) for key in OF_NEURON},
            )
            for neuron in checked.neurons
        ]
        return cls(
            reference=card(checked.generator),
            discriminative={n: card(m) for n, m in checked.discriminative.items()},
            neurons=[neuron for neuron in neurons if not neuron.position_only],
            position_only=[neuron for neuron in neurons if neuron.position_only],
            concepts=[Concept(**dict(concept)) for concept in checked.concepts],
            **{
                key: getattr(checked, key)
                for key in (
                    "seed", "num_images", "k", "config", "summary", "created", "rosetta_lab"
                )
            },
        )  # fmt: skip

    def save(self, folder: Path) -> Path:
        """Write ``dictionary.json`` and ``best_buddies.safetensors`` into a run folder."""
        path = folder / FILE_NAME
        save_tensors(folder / BUDDIES, self.buddies)
        known = {f"{n}/{key}": x for n, own in self.evidence.items() for key, x in own.items()}
        (folder / EVIDENCE).unlink(missing_ok=True)
        if known:  # safetensors reads no file without tensors
            save_tensors(folder / EVIDENCE, known)
        record = json.loads(json.dumps(self.to_json()))  # as it will be read
        record[DIGEST] = digest_of(record)
        atomic_write(path, (json.dumps(record, indent=1) + "\n").encode())
        return path

    @classmethod
    def load(cls, folder: str | Path) -> RosettaDictionary:
        """Read the dictionary of a run folder (or the JSON file itself).

        Raises:
            RosettaError: there is none, or of another schema, or its parts do not fit together.
        """
        path = Path(folder)
        path = path / FILE_NAME if path.is_dir() else path
        try:
            record = read_json(path)
        except FileNotFoundError:
            raise RosettaError(
                f"No dictionary at {path}.\nMine one: python -m rosetta_lab.mine"
            ) from None
        dictionary = cls.from_json(record)
        if (buddies := path.parent / BUDDIES).is_file():
            dictionary.buddies = load_tensors(buddies)[0]
        if (evidence := path.parent / EVIDENCE).is_file():
            for name, values in load_tensors(evidence)[0].items():
                model, _, key = name.rpartition("/")
                dictionary.evidence.setdefault(model, {})[key] = values
        units = {name: len(card.units) for name, card in dictionary.discriminative.items()}
        check_pairs(dictionary.buddies, dictionary.evidence, len(dictionary.reference.units), units)
        return dictionary


def class_names(mined: Mapping[str, Any]) -> list[str] | None:
    """Names of a generator's classes, where the configuration that it was mined with has them."""
    names = (mined.get("gen") or {}).get("class_names")
    return [str(name) for name in names] if names else None


def _known(record: Match | RosettaNeuron) -> dict[str, Any]:
    """A record's plain values, without those that are not known."""
    return {key: value for key, value in vars(record).items() if value is not None}
