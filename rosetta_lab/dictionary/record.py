"""What a dictionary's files must be like before anybody uses them: they may be anybody's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from rosetta_lab.errors import RosettaError, printable
from rosetta_lab.run.foreign import Strict, check_record

DIGEST = "sha256"  # of a dictionary's record, in it
LONGEST_NAME = 200  # of a model
MOST_MODELS = 100
MOST_UNITS = 1 << 22  # of a model; the paper's largest has 111,000
EVIDENCE = {"q", "decoys"}  # of a model's pairs, that pools are made of
OF_DECOYS = ("decoys", "decoys_centred")  # evidence of other pairs than the best buddies
BEYOND = 1e-3  # what rounding may add to a correlation of 1
Number = Annotated[int, Field(ge=0, lt=1 << 40)]
Count = Annotated[int, Field(ge=1, lt=1 << 40)]
R = Annotated[float, Field(ge=-1.0 - BEYOND, le=1.0 + BEYOND)]
Share = Annotated[float, Field(ge=0.0, le=1.0 + BEYOND)]


class LayerRecord(Strict):
    """See :class:`rosetta_lab.models.units.Layer`."""

    name: str
    channels: Annotated[int, Field(ge=1, le=1 << 20)]
    height: Annotated[int, Field(ge=1, le=1 << 16)]
    width: Annotated[int, Field(ge=1, le=1 << 16)]


class CardRecord(Strict, extra="ignore"):
    """See :class:`rosetta_lab.dictionary.schema.ModelCard`."""

    name: str
    weights: dict[str, str | None]
    layers: list[LayerRecord]
    preprocess: dict[str, Any] | None = None


class UnitRecord(Strict):
    """See :class:`rosetta_lab.models.units.Unit`."""

    layer: str
    channel: Number


class MatchRecord(UnitRecord):
    """See :class:`rosetta_lab.dictionary.schema.Match`."""

    r: R
    r_position: R | None = None
    r_centred: R | None = None
    r_shuffled: R | None = None
    q: Share | None = None
    r_low: float | None = None
    r_high: float | None = None


class NeuronRecord(Strict, extra="ignore"):
    """See :class:`rosetta_lab.dictionary.schema.RosettaNeuron`."""

    generator: UnitRecord
    matches: dict[str, list[MatchRecord]]
    score: R
    concept: Annotated[int, Field(ge=-1)] = -1
    q: Share | None = None
    stability: Share | None = None
    position_only: bool = False


class ConceptRecord(Strict):
    """See :class:`rosetta_lab.dictionary.schema.Concept`."""

    id: Number
    neurons: list[Number]
    representative: Number
    score: R


class NullRecord(Strict, extra="ignore"):
    """What pairs were accepted by."""

    max_fdr: Share


class SummaryRecord(Strict, extra="ignore"):
    """Of a dictionary's summary, what more than its page depends on."""

    null: NullRecord | None = None


class DictionaryRecord(Strict, extra="ignore"):
    """A ``dictionary.json``, of schema 1 or 2; ``generator`` in it is the reference model."""

    seed: int
    num_images: Count
    k: Count
    config: dict[str, Any]
    summary: dict[str, Any]
    created: str
    rosetta_lab: str
    generator: CardRecord
    discriminative: Annotated[dict[str, CardRecord], Field(max_length=MOST_MODELS)]
    neurons: list[NeuronRecord]
    concepts: list[ConceptRecord]


def check_dictionary(record: Mapping[str, Any]) -> DictionaryRecord:
    """A dictionary's record, after checking every value, and that they fit together.

    Raises:
        RosettaError: a value is of another type or out of its range, or names what is not there.
    """
    found = check_record(DictionaryRecord, record, "Broken Rosetta dictionary")
    check_record(SummaryRecord, found.summary, "Broken Rosetta dictionary: summary")
    channels = {
        name: {layer.name: layer.channels for layer in card.layers}
        for name, card in found.discriminative.items()
    }
    for name in channels:  # it stands in tables, and on command lines
        fits = name.isprintable() and len(name) <= LONGEST_NAME and name not in ("all", "none")
        _require(fits, f"a model called '{name}'")
    own = {layer.name: layer.channels for layer in found.generator.layers}
    for card in (found.generator, *found.discriminative.values()):
        units = sum(layer.channels for layer in card.layers)
        _require(units <= MOST_UNITS, f"{card.name}: {units} units")
        names = [layer.name for layer in card.layers]
        _require(len(set(names)) == len(names), f"{card.name}: two layers of one name")
    for place, neuron in enumerate(found.neurons):
        known = f"neuron {place}"
        _require_unit(neuron.generator, own, known)
        _require(neuron.concept < len(found.concepts), f"{known}: concept {neuron.concept}")
        _require(neuron.matches.keys() == channels.keys(), f"{known}: other models' matches")
        for name, matches in neuron.matches.items():
            _require(name in channels, f"{known}: the model '{name}'")
            for match in matches:
                _require_unit(match, channels[name], known)
    rosetta = sum(not neuron.position_only for neuron in found.neurons)
    for place, concept in enumerate(found.concepts):
        members = [concept.representative, *concept.neurons]
        _require(
            concept.id == place and all(n < rosetta for n in members),
            f"concept {concept.id} of neurons {members}",
        )
    gen = found.config.get("gen", {})
    gen = {} if gen is None else gen  # mined on images that were given
    classes = gen.get("class_names") if isinstance(gen, dict) else None
    _require(isinstance(gen, dict) and isinstance(classes, list | None), "config.gen")
    return found


def digest_of(record: Mapping[str, Any]) -> str:
    """SHA-256 over all that a dictionary's record holds beside it."""
    rest = {key: value for key, value in record.items() if key != DIGEST}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def check_digest(record: Mapping[str, Any]) -> None:
    """See that a dictionary is as the run wrote it; one without a digest is taken as it is.

    Raises:
        RosettaError: it is not.
    """
    if DIGEST in record and record[DIGEST] != digest_of(record):
        raise RosettaError(
            f"This dictionary is not as its run wrote it (the {DIGEST} in it is another); refused."
            f"\nIt is damaged: mine again. Changed by hand? Take its key '{DIGEST}' out."
        )


def _require_unit(unit: UnitRecord, channels: Mapping[str, int], place: str) -> None:
    fits = unit.channel < channels.get(unit.layer, 0)
    _require(fits, f"{place}: channel {unit.channel} of layer '{unit.layer}'")


def _require(fits: bool, what: str) -> None:
    if not fits:
        raise RosettaError(
            f"Broken Rosetta dictionary: {printable(what)}: there is no such thing; refused.\n"
            "The file is damaged, or was tampered with: mine again."
        )


def check_pairs(
    buddies: Mapping[str, Tensor],
    evidence: Mapping[str, Mapping[str, Tensor]],
    own: int,
    units: Mapping[str, int],
) -> None:
    """See that pairs of units and their evidence are of units that there are.

    Args:
        buddies: by model (P, 3): numbers of units, reference and model, and ranks.
        evidence: by model: see :class:`rosetta_lab.dictionary.schema.RosettaDictionary`.
        own: how many units the reference model has.
        units: how many a model has.

    Raises:
        RosettaError: they are not.
    """
    for kind, held in {"best buddies": buddies, "evidence": evidence}.items():
        whole = not held or held.keys() == units.keys()
        _require(whole, f"{kind} of other models than it has: {', '.join(sorted(held))}")
    for name, rows in buddies.items():
        what = f"best buddies of '{name}'"
        _require(name in units and _indices(rows, 3, (own, units[name])), what)
        _require(bool((rows[:, 2] >= 0).all()), what)
    for name, values in evidence.items():
        _require(values.keys() >= EVIDENCE, f"evidence of '{name}': only {sorted(values)}")
        for key, value in values.items():
            what = f"evidence '{key}' of '{name}'"
            if key == "decoys":
                _require(name in units and _indices(value, 2, (own, units[name])), what)
            else:
                pairs = values["decoys"] if key in OF_DECOYS else buddies.get(name)
                shape = None if pairs is None else pairs.shape[:1]
                _require(value.is_floating_point() and value.shape == shape, what)
                _require(bool(value.isfinite().all()), what)


def _indices(rows: Tensor, columns: int, ends: Iterable[int]) -> bool:
    """Whether rows (P, columns) hold whole numbers below ``ends`` in their first columns."""
    if rows.dtype not in (torch.int32, torch.int64) or rows.dim() != 2 or rows.shape[1] != columns:
        return False
    return all(bool(((c >= 0) & (c < end)).all()) for c, end in zip(rows.T, ends, strict=False))
