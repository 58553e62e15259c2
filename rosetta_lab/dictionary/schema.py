"""The Rosetta dictionary: neurons, concepts, how they were found; saving and loading."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import atomic_write, save_tensors
from rosetta_lab.models.units import Layer, Unit, UnitIndex

SCHEMA = "rosetta_lab.dictionary/1"
FILE_NAME = "dictionary.json"
BUDDIES = "best_buddies.safetensors"


@dataclass
class ModelCard:
    """A model as the dictionary remembers it.

    Attributes:
        name: generator or discriminative model.
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
    """A discriminative model's unit and its correlation r with the generator's."""

    layer: str
    channel: int
    r: float

    @property
    def unit(self) -> Unit:
        return Unit(self.layer, self.channel)


@dataclass
class RosettaNeuron:
    """A generator unit with its best buddies in every model, best first.

    ``score`` is the mean over models of the best r; ``concept`` indexes the dictionary's concepts.
    """

    unit: Unit
    matches: dict[str, list[Match]]
    score: float
    concept: int = -1


@dataclass
class Concept:
    """A cluster of Rosetta neurons: connected through best buddies within the generator.

    ``neurons`` indexes the dictionary's neurons, best first; ``representative`` is the best one.
    """

    id: int
    neurons: list[int]
    representative: int
    score: float


@dataclass
class RosettaDictionary:
    """What a mining run found. Neurons and concepts are sorted by score, best first.

    ``buddies`` holds every best buddy pair with each model, matched by the others or not: numbers
    of units, generator and model, and the smallest K at which they are best buddies (P, 3). It has
    a file of its own.
    """

    generator: ModelCard
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
    buddies: dict[str, Tensor] = field(default_factory=dict, compare=False, repr=False)

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
            "generator": card(self.generator),
            "discriminative": {name: card(model) for name, model in self.discriminative.items()},
            "neurons": [
                {
                    "generator": neuron.unit._asdict(),
                    "matches": {
                        name: [asdict(match) for match in matches]
                        for name, matches in neuron.matches.items()
                    },
                    "score": neuron.score,
                    "concept": neuron.concept,
                }
                for neuron in self.neurons
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
        if record.get("schema") != SCHEMA:
            raise RosettaError(
                f"Not a Rosetta dictionary: schema is {record.get('schema')!r}, "
                f"expected {SCHEMA!r}."
            )

        def card(model: Mapping[str, Any]) -> ModelCard:
            layers = [Layer(**layer) for layer in model["layers"]]
            return ModelCard(model["name"], model["weights"], layers, model.get("preprocess"))

        try:
            return cls(
                generator=card(record["generator"]),
                discriminative={n: card(m) for n, m in record["discriminative"].items()},
                neurons=[
                    RosettaNeuron(
                        unit=Unit(**neuron["generator"]),
                        matches={
                            name: [Match(**match) for match in matches]
                            for name, matches in neuron["matches"].items()
                        },
                        score=neuron["score"],
                        concept=neuron["concept"],
                    )
                    for neuron in record["neurons"]
                ],
                concepts=[Concept(**concept) for concept in record["concepts"]],
                **{
                    key: record[key]
                    for key in (
                        "seed", "num_images", "k", "config", "summary", "created", "rosetta_lab"
                    )
                },
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise RosettaError(f"Broken Rosetta dictionary: {error!r} while reading it.") from None

    def save(self, folder: Path) -> Path:
        """Write ``dictionary.json`` and ``best_buddies.safetensors`` into a run folder."""
        path = folder / FILE_NAME
        save_tensors(folder / BUDDIES, self.buddies)
        atomic_write(path, (json.dumps(self.to_json(), indent=1) + "\n").encode())
        return path

    @classmethod
    def load(cls, folder: str | Path) -> RosettaDictionary:
        """Read the dictionary of a run folder (or the JSON file itself).

        Raises:
            RosettaError: there is none, or it is of another schema.
        """
        path = Path(folder)
        path = path / FILE_NAME if path.is_dir() else path
        try:
            record = json.loads(path.read_text())
        except FileNotFoundError:
            raise RosettaError(
                f"No dictionary at {path}.\nMine one: python -m rosetta_lab.mine"
            ) from None
        except json.JSONDecodeError as error:
            raise RosettaError(f"{path} is not JSON ({error}).") from None
        dictionary = cls.from_json(record)
        buddies = path.parent / BUDDIES
        if buddies.is_file():
            dictionary.buddies = load_file(buddies)
        return dictionary


def class_names(mined: Mapping[str, Any]) -> list[str] | None:
    """Names of a generator's classes, where the configuration that it was mined with has them."""
    names = (mined.get("gen") or {}).get("class_names")
    return [str(name) for name in names] if names else None
