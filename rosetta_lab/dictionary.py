"""The Rosetta dictionary: neurons, concepts, how they were found; building, saving, loading."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import atomic_write, save_tensors
from rosetta_lab.functional.matching import alive, best_buddies, connected_components, least_k
from rosetta_lab.units import Layer, Unit, UnitIndex

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


def build_dictionary(
    generator: ModelCard,
    discriminative: Mapping[str, ModelCard],
    tables: Mapping[str, Tensor],
    generator_table: Tensor,
    generator_alive: Tensor,
    models_alive: Mapping[str, Tensor],
    *,
    k_gen: int,
    k_disc: int,
    **provenance: Any,
) -> RosettaDictionary:
    """Match units, join them through the generator, cluster them (paper, sections 3.1 to 3.3).

    Args:
        generator: the generator's card.
        discriminative: the models' cards.
        tables: correlation r of generator units (rows) with each model's units, (G, D).
        generator_table: correlation of generator units with each other (G, G).
        generator_alive: which generator units vary at all (G,).
        models_alive: the same per model (D,).
        k_gen: nearest generator units that each model unit considers; also for the clustering.
        k_disc: nearest model units that each generator unit considers.
        provenance: the remaining fields of :class:`RosettaDictionary` (seed, num_images, config).

    Raises:
        RosettaError: K exceeds the number of units of a model.
    """
    _check_k(generator.name, "k_gen", k_gen, int(generator_alive.sum()))
    buddies, numbers = {}, {}
    for name, table in tables.items():
        _check_k(name, "k_disc", k_disc, int(models_alive[name].sum()))
        living = alive(table, generator_alive, models_alive[name])
        buddies[name] = best_buddies(living, k_rows=k_disc, k_columns=k_gen)
        pairs = buddies[name].nonzero()
        numbers[name] = torch.column_stack([pairs, least_k(living, pairs)]).cpu()
    everywhere = torch.stack([mask.any(dim=1) for mask in buddies.values()]).all(dim=0)
    rosetta = everywhere.nonzero().flatten().tolist()  # generator unit numbers

    neurons = []
    for number in rosetta:
        matches = {
            name: _matches(discriminative[name].units, tables[name][number], mask[number])
            for name, mask in buddies.items()
        }
        score = sum(found[0].r for found in matches.values()) / len(matches)
        neurons.append(RosettaNeuron(generator.units[number], matches, round(score, 6)))

    themselves = alive(generator_table, generator_alive, generator_alive)
    themselves.fill_diagonal_(-torch.inf)
    adjacency = best_buddies(themselves, min(k_gen, len(themselves)), min(k_gen, len(themselves)))
    clusters = connected_components(adjacency[rosetta][:, rosetta])
    neurons, concepts = _sort(neurons, clusters)
    return RosettaDictionary(
        generator=generator,
        discriminative=dict(discriminative),
        neurons=neurons,
        concepts=concepts,
        k=k_disc,
        buddies=numbers,
        summary={
            "rosetta_neurons": len(neurons),
            "concepts": len(concepts),
            "best_buddies": {name: int(mask.sum()) for name, mask in buddies.items()},
            "units": {
                generator.name: len(generator.units),
                **{name: len(card.units) for name, card in discriminative.items()},
            },
            "dead_units": {
                generator.name: int((~generator_alive).sum()),
                **{name: int((~mask).sum()) for name, mask in models_alive.items()},
            },
            "meetings": {
                name: _meetings(generator.units, discriminative[name].units, mask)
                for name, mask in buddies.items()
            },
            "histogram": {
                name: torch.histc(tables[name][mask].float().cpu(), 40, -1.0, 1.0).int().tolist()
                for name, mask in buddies.items()
            },
        },
        **provenance,
    )


def _check_k(model: str, key: str, k: int, units: int) -> None:
    if not 1 <= k <= units:
        raise RosettaError(
            f"{key}={k} does not fit {model}: it has {units} units that vary.\n"
            f"Choose k between 1 and {units}."
        )


def _matches(units: UnitIndex, r: Tensor, mask: Tensor) -> list[Match]:
    """A generator unit's best buddies in one model, best first, lower index first on ties."""
    numbers = mask.nonzero().flatten().tolist()
    found = [Match(*units[number], round(float(r[number]), 6)) for number in numbers]
    return sorted(found, key=lambda match: -match.r)


def _sort(
    neurons: Sequence[RosettaNeuron], clusters: Sequence[Sequence[int]]
) -> tuple[list[RosettaNeuron], list[Concept]]:
    """Neurons and concepts by score, best first, with their references to each other."""
    order = sorted(range(len(neurons)), key=lambda place: -neurons[place].score)
    rank = {place: new for new, place in enumerate(order)}
    ordered = [neurons[place] for place in order]
    concepts = []
    for cluster in clusters:
        members = sorted(rank[place] for place in cluster)
        concepts.append(Concept(-1, members, members[0], ordered[members[0]].score))
    concepts.sort(key=lambda concept: concept.representative)
    for number, concept in enumerate(concepts):
        concept.id = number
        for member in concept.neurons:
            ordered[member].concept = number
    return ordered, concepts


def _meetings(rows: UnitIndex, columns: UnitIndex, mask: Tensor) -> list[list[int]]:
    """Best buddies counted per pair of layers: generator layers by model layers."""
    return [
        [int(mask[rows.units(a.name), columns.units(b.name)].sum()) for b in columns.layers]
        for a in rows.layers
    ]
