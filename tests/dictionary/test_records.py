"""A dictionary's own record: units that there are, numbers that are some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from commands import call
from safetensors.torch import save_file
from strangers import NETWORK, Change, change, folder, model, nothing_ran, refusal  # noqa: F401

from rosetta_lab.dictionary.pairs import matched_pairs
from rosetta_lab.dictionary.record import check_pairs
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.dictionary.statistics import load_statistics
from rosetta_lab.errors import RosettaError

# The fixtures are imported by name.
# ruff: noqa: F811


def first(record: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = record["neurons"][0]
    return found


BROKEN: dict[str, Change] = {
    "a negative channel": lambda r: first(r)["generator"].update(channel=-1),
    "a fractional channel": lambda r: first(r)["generator"].update(channel=1.5),
    "a whole channel that is no integer": lambda r: first(r)["generator"].update(channel=1.0),
    "a channel beyond the layer": lambda r: first(r)["generator"].update(channel=10**6),
    "an unknown layer": lambda r: first(r)["generator"].update(layer="\x1b[31mx"),
    "an unknown model": lambda r: first(r)["matches"].update(x=[]),
    "a match beyond the layer": lambda r: first(r)["matches"][NETWORK][0].update(channel=10**6),
    "a match in an unknown layer": lambda r: first(r)["matches"][NETWORK][0].update(layer="x"),
    "r is NaN": lambda r: first(r)["matches"][NETWORK][0].update(r=float("nan")),
    "r is text": lambda r: first(r)["matches"][NETWORK][0].update(r="0.5"),
    "r is 2": lambda r: first(r)["matches"][NETWORK][0].update(r=2.0),
    "an infinite score": lambda r: first(r).update(score=float("inf")),
    "an unknown concept": lambda r: first(r).update(concept=10**6),
    "a concept of no neuron": lambda r: r["concepts"][0].update(neurons=[10**6]),
    "a concept of another number": lambda r: r["concepts"][0].update(id=1),
    "a concept's representative": lambda r: r["concepts"][0].update(representative=-1),
    "two layers of one name": lambda r: r["generator"]["layers"].append(
        r["generator"]["layers"][0]
    ),
    "more units than memory": lambda r: r["generator"]["layers"][0].update(channels=1 << 39),
    "many layers of many units": lambda r: r["generator"]["layers"].extend(
        {"name": f"x{i}", "channels": 1 << 20, "height": 1, "width": 1} for i in range(9)
    ),
    "a model of every name": lambda r: (
        r["discriminative"].update(all=r["discriminative"].pop(NETWORK)),
        [n["matches"].update(all=n["matches"].pop(NETWORK)) for n in r["neurons"]],
    ),
    "very many models": lambda r: (
        r["discriminative"].update({f"x{i}": r["discriminative"][NETWORK] for i in range(200)}),
        [n["matches"].update({f"x{i}": [] for i in range(200)}) for n in r["neurons"]],
    ),
    "a layer without units": lambda r: r["generator"]["layers"][0].update(channels=0),
    "a layer without a size": lambda r: r["generator"]["layers"][0].update(height=-4),
    "k is 0": lambda r: r.update(k=0),
    "no images": lambda r: r.update(num_images=0),
    "no line of acceptance": lambda r: r["summary"].update(null={"max_fdr": "0.05"}),
    "a null that is none": lambda r: r["summary"].update(null=[1]),
    "no seed": lambda r: r.pop("seed"),
    "models in a list": lambda r: r.update(discriminative=[1]),
    "no mapping": lambda r: r.update(config=[1]),
    "another schema": lambda r: r.update(schema=["rosetta_lab.dictionary/2"]),
}


@pytest.mark.parametrize("schema", [1, 2])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_dictionary_is_no_other_one(name: str, schema: int, folder: Path) -> None:
    path = folder / "mined/dictionary.json"
    change(path, lambda record: record.update(schema=f"rosetta_lab.dictionary/{schema}"))
    RosettaDictionary.load("mined")
    change(path, BROKEN[name])
    with pytest.raises(RosettaError) as error:
        RosettaDictionary.load("mined")
    assert refusal(error).isprintable() or "\x1b" not in refusal(error)


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff\xfe", b"3", b"[" * 100_000, b'{"k": NaN}'])
def test_what_is_no_dictionary_is_told(data: bytes, folder: Path) -> None:
    (folder / "mined/dictionary.json").write_bytes(data)
    with pytest.raises(RosettaError) as error:
        RosettaDictionary.load("mined")
    refusal(error)
    done = call("overlap", "dictionaries=[mined,mined]", cwd=folder)
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "rows",
    [
        torch.tensor([[0, 0, 1]]).float(),
        torch.tensor([[-1, 0, 1]]),
        torch.tensor([[0, 10**6, 1]]),
        torch.tensor([[10**6, 0, 1]]),
        torch.tensor([[0, 0, -1]]),
        torch.tensor([[0, 0]]),
        torch.tensor([0, 0, 1]),
    ],
)
def test_pairs_are_of_units_that_there_are(rows: torch.Tensor, folder: Path) -> None:
    save_file({NETWORK: torch.tensor([[0, 0, 1]])}, "mined/best_buddies.safetensors")
    RosettaDictionary.load("mined")
    save_file({NETWORK: rows}, "mined/best_buddies.safetensors")
    with pytest.raises(RosettaError) as error:
        RosettaDictionary.load("mined")
    refusal(error)


def test_pairs_are_of_the_models_that_there_are() -> None:
    pairs, units = torch.tensor([[0, 0, 1]]), {"a": 1, "b": 1}
    known = {"q": torch.tensor([0.5]), "decoys": torch.tensor([[0, 0]])}
    every, some = {"a": pairs, "b": pairs}, {"a": pairs}
    check_pairs(every, {"a": known, "b": known}, 1, units)
    check_pairs(every, {}, 1, units)
    check_pairs({}, {}, 1, units)
    for buddies, evidence in ((some, {}), (every | {"c": pairs}, {}), (every, {"a": known})):
        with pytest.raises(RosettaError, match="of other models than it has: a") as error:
            check_pairs(buddies, evidence, 1, units)
        refusal(error)


def test_evidence_and_statistics_are_of_units_that_there_are(folder: Path) -> None:
    save_file({NETWORK: torch.tensor([[0, 0, 1]])}, "mined/best_buddies.safetensors")
    for key, values in {
        "q": torch.tensor([0.5, 0.5]),
        "r": torch.tensor([torch.nan]),
        "decoys": torch.tensor([[0, -1]]),
        "r_centred": torch.tensor([0.5]).to(torch.float8_e4m3fn),
        "another": None,
    }.items():
        known = {"q": torch.tensor([0.5]), "decoys": torch.tensor([[0, 1]])}
        save_file({f"{NETWORK}/{k}": x for k, x in known.items()}, "mined/evidence.safetensors")
        RosettaDictionary.load("mined")
        known = {"q": known["q"]} if values is None else known | {key: values}
        save_file({f"{NETWORK}/{k}": x for k, x in known.items()}, "mined/evidence.safetensors")
        with pytest.raises(RosettaError) as error:
            RosettaDictionary.load("mined")
        refusal(error)
    Path("mined/evidence.safetensors").write_bytes(b"x")
    with pytest.raises(RosettaError):
        RosettaDictionary.load("mined")
    for values in (torch.zeros(1).to(torch.float8_e5m2), torch.zeros(1, dtype=torch.complex64)):
        save_file({"g/a/mean": values, "g/a/var": values.clone()}, "mined/statistics.safetensors")
        with pytest.raises(RosettaError, match="is of torch") as error:
            load_statistics(Path("mined"), "g")
        refusal(error)
    for mean, var in (([0.0], [-1.0]), ([0.0], [torch.nan]), ([0.0, 1.0], [1.0])):
        tensors = {"g/a/mean": torch.tensor(mean), "g/a/var": torch.tensor(var)}
        save_file(tensors, "mined/statistics.safetensors")
        with pytest.raises(RosettaError) as error:
            load_statistics(Path("mined"), "g")
        refusal(error)


def test_pairs_are_accepted_by_what_the_dictionary_says(folder: Path) -> None:
    """One with evidence that does not say it was not mined by this program."""
    save_file({NETWORK: torch.tensor([[0, 0, 1], [1, 1, 1]])}, "mined/best_buddies.safetensors")
    known = {"q": torch.tensor([0.01, 0.5]), "decoys": torch.tensor([[0, 1]])}
    save_file({f"{NETWORK}/{k}": x for k, x in known.items()}, "mined/evidence.safetensors")
    with pytest.raises(RosettaError, match="without a null") as error:
        matched_pairs(RosettaDictionary.load("mined"), NETWORK, "accepted")
    refusal(error)
    change(Path("mined/dictionary.json"), lambda r: r["summary"].update(null={"max_fdr": 0.05}))
    found = matched_pairs(RosettaDictionary.load("mined"), NETWORK, "accepted")
    assert found[NETWORK].tolist() == [[0, 0]]
    Path("mined/evidence.safetensors").unlink()  # all best buddies were taken for accepted ones
    with pytest.raises(RosettaError, match=r"evidence\.safetensors is not beside it") as error:
        matched_pairs(RosettaDictionary.load("mined"), NETWORK, "accepted")
    refusal(error)
    assert (
        len(matched_pairs(RosettaDictionary.load("mined"), NETWORK, "best_buddies")[NETWORK]) == 2
    )
