"""Dictionaries straight from tables of similarities, without a null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rosetta_lab.dictionary.build import build_dictionary, check_k
from rosetta_lab.dictionary.evidence import find
from rosetta_lab.dictionary.schema import ModelCard, RosettaDictionary
from rosetta_lab.functional.matching import neighbours
from rosetta_lab.metrics.matching import Matching


def dictionary_of(
    generator: ModelCard,
    discriminative: Mapping[str, ModelCard],
    tables: Mapping[str, Tensor],
    own: Tensor,
    rows: Tensor,
    columns: Mapping[str, Tensor],
    *,
    k_gen: int,
    k_disc: int,
    **provenance: Any,
) -> RosettaDictionary:
    """Match by tables of r: generator units with each model's, and among themselves.

    ``rows`` and ``columns`` say which units vary.
    """
    alive = {generator.name: rows, **columns}
    check_k({n: int(mask.sum()) for n, mask in alive.items()}, generator.name, k_gen, k_disc)
    matchings = {
        name: Matching(neighbours(table.clone(), 32, rows, columns[name], {"r": table}), [])
        for name, table in tables.items()
    }
    themselves = own.clone().fill_diagonal_(-torch.inf)
    return build_dictionary(
        generator,
        discriminative,
        find(matchings, k_disc, k_gen, 0.05),
        neighbours(themselves, 32, rows, rows, {}),
        alive,
        k_gen=k_gen,
        k_disc=k_disc,
        **provenance,
    )
