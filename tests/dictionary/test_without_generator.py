"""A dictionary whose reference is no generator: what reads it, and what has to refuse it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from commands import Done, call

from rosetta_lab.dictionary.mined import load_mined, load_mined_models
from rosetta_lab.dictionary.schema import SCHEMA, RosettaDictionary
from rosetta_lab.errors import RosettaError

QUICK = ["trainer.accelerator=cpu", "trainer.enable_progress_bar=false"]
MODELS = ["resnet_fashion", "dino_resnet_fashion"]


def mine(folder: Path, name: str, *arguments: str) -> Path:
    how = [f"disc=[{','.join(MODELS)}]", "max_fdr=1", "page_images=6", f"hydra.run.dir={name}"]
    done = call("mine", *how, *QUICK, *arguments, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / name


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory, fashion_mnist: Path) -> Path:
    return mine(
        tmp_path_factory.mktemp("given"), "run", "gen=null", "data=fashion_scenes", "num_images=20"
    )


def test_it_is_read_and_checked_as_any_other(given: Path) -> None:
    record = json.loads((given / "dictionary.json").read_text())
    assert record["schema"] == SCHEMA and record["config"]["gen"] is None
    dictionary = RosettaDictionary.load(given)
    assert not dictionary.of_generator and dictionary.reference.name == "resnet_fashion"
    assert dictionary.num_images == 20 and dictionary.neurons
    record["config"]["gen"] = ["no mapping"]
    del record["sha256"]
    with pytest.raises(RosettaError, match=r"config\.gen"):
        RosettaDictionary.from_json(record)


def refused(done: Done) -> bool:
    said = (done.stdout + done.stderr).strip()
    assert "no generator to make images with: its reference is resnet_fashion" in said
    assert "Mine one with gen=NAME" in said and "Traceback" not in said
    return done.returncode == 1 and len(said.splitlines()) == 2


@pytest.mark.parametrize("command", ["invert", "edit", "visualize"])
def test_what_makes_images_refuses_it(command: str, given: Path, tmp_path: Path) -> None:
    assert refused(call(command, f"dictionary={given}", *QUICK, cwd=tmp_path))


@pytest.mark.slow
def test_a_generator_that_is_not_the_reference_does_not_help(tmp_path: Path) -> None:
    run = mine(tmp_path, "run", "reference=resnet_fashion", "num_images=8")
    assert RosettaDictionary.load(run).config["gen"]["name"] == "stylegan2_fashion"
    assert refused(call("invert", f"dictionary={run}", *QUICK, cwd=tmp_path))


def test_models_have_the_weights_that_were_mined(given: Path, tmp_path: Path) -> None:
    found = load_mined_models(given)
    assert list(found.models(MODELS)) == MODELS  # the reference, too
    with pytest.raises(RosettaError, match="no generator"):
        load_mined(given)
    found.dictionary.reference.weights["sha256"] = "0" * 64
    with pytest.raises(RosettaError, match="resnet_fashion: its weights are not those"):
        found.models(["resnet_fashion"])


def test_its_units_are_ablated_in_all_models(given: Path, tmp_path: Path) -> None:
    how = ["zoo=embedded", "data=samples", "draws=1", "resamples=50", "hydra.run.dir=run"]
    done = call("ablate", f"dictionary={given}", *how, *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "run" / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["model"] for row in rows} == set(MODELS)
    page = (tmp_path / "run" / "index.html").read_text()
    assert "In the generator" not in page and "in the generator" not in page


def test_overlaps_of_two_such_dictionaries(given: Path, tmp_path: Path) -> None:
    done = call("overlap", f"dictionaries=[{given},{given}]", cwd=tmp_path)
    assert done.returncode == 0 and "dino_resnet_fashion" in done.stdout
