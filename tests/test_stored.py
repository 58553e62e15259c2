"""Runs that earlier versions wrote are still read, gone on with and repeated.

``stored`` holds what version 0.1.0 left: a small mining run, two inversions of two images through
it, and an edit. Its files name classes by where they were then.
"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import call
from omegaconf import OmegaConf
from PIL import Image
from safetensors.numpy import load_file

STORED = Path(__file__).parent / "stored"
IDS = ("bag_orange", "coat_red")
FILES = ("result.json", "latent.safetensors", "inverted.png", "start.png", "target.png")
PSNR = {"inverted_plain": (13.990994, 9.337412), "inverted_all": (14.032201, 9.740652)}  # of IDS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of everything; the runs name each other and their images relative to it."""
    return Path(shutil.copytree(STORED, tmp_path / "runs"))


def run(folder: Path, command: str, *arguments: str) -> str:
    """Run a command in a folder; what it printed."""
    done = call(command, *arguments, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def pixels(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    with Image.open(path) as image:
        return np.asarray(image, dtype=np.float64)


def figures(run: Path) -> dict[str, Any]:
    return {name: read(run / "results" / name / "result.json") for name in IDS}


def units(neurons: list[Any]) -> set[tuple[str, int]]:
    return {(n["generator"]["layer"], n["generator"]["channel"]) for n in neurons}


def test_a_stored_mining_run_is_mined_again(folder: Path) -> None:
    run(folder, "mine", "resume=mined", "page_images=2")
    then, now = read(STORED / "mined/dictionary.json"), read(folder / "mined/dictionary.json")
    assert now["created"] != then["created"]
    for key in ("seed", "num_images", "k", "generator", "discriminative"):
        assert now[key] == then[key], key
    assert (then["schema"], now["num_images"], now["k"]) == ("rosetta_lab.dictionary/1", 64, 2)
    assert now["schema"] == "rosetta_lab.dictionary/2"
    assert (len(then["neurons"]), len(then["concepts"])) == (106, 97)
    for key, value in then["config"].items():  # newer keys may stand beside them
        assert key == "page_images" or now["config"][key] == value, key
    # Another processor's rounding may decide a near tie otherwise.
    assert len(units(now["neurons"]) ^ units(then["neurons"])) <= 2
    first = now["neurons"][0]
    assert first["generator"] == {"layer": "synthesis.b32.conv0", "channel": 21}
    matches = first["matches"]["resnet_fashion"]
    assert [(m["layer"], m["channel"]) for m in matches] == [("layer1.0", 1), ("layer1.0", 8)]
    assert [m["r"] for m in matches] == pytest.approx([0.881841, 0.850603], abs=1e-4)
    statistics = [load_file(place / "mined/statistics.safetensors") for place in (STORED, folder)]
    assert statistics[0].keys() == statistics[1].keys()
    for name, values in statistics[0].items():
        np.testing.assert_allclose(statistics[1][name], values, rtol=1e-3, atol=1e-4)


def test_stored_inversions_are_compared(folder: Path) -> None:
    runs = "runs=[inverted_plain,inverted_all]"
    run(folder, "compare", runs, "hydra.run.dir=compared", "resamples=100")
    with open(folder / "compared/comparison.csv", newline="") as file:
        rows = {(row["run"], row["figure"]): row for row in csv.DictReader(file)}
    assert {name for name, _ in rows} == {"none", "all"}  # what their command lines differ in
    plain, both = rows["none", "psnr"], rows["all", "psnr"]
    means = {name: sum(values) / 2 for name, values in PSNR.items()}
    assert float(plain["mean"]) == pytest.approx(means["inverted_plain"], abs=1e-5)
    assert float(both["mean"]) == pytest.approx(means["inverted_all"], abs=1e-5)
    assert plain["gain"] == ""  # the baseline
    gain = means["inverted_all"] - means["inverted_plain"]
    assert float(both["gain"]) == pytest.approx(gain, abs=1e-5)
    assert (both["wins"], both["images"]) == ("2", "2")


def test_a_finished_inversion_is_left_as_it_is(folder: Path) -> None:
    paths = [folder / "inverted_plain/results" / name / file for name in IDS for file in FILES]
    before = [(path.stat().st_mtime_ns, path.read_bytes()) for path in paths]
    table = run(folder, "invert", "resume=inverted_plain")
    assert [(path.stat().st_mtime_ns, path.read_bytes()) for path in paths] == before
    for name, decibels in zip(IDS, PSNR["inverted_plain"], strict=True):
        assert [name, f"{decibels:.3f}"] in [line.split()[:2] for line in table.splitlines()]


def test_an_unfinished_inversion_goes_on(folder: Path) -> None:
    """One image is done again, through the stored dictionary, with the stored settings."""
    done, missing = (folder / "inverted_all/results" / name for name in IDS)
    shutil.rmtree(missing)
    kept = (done / "result.json").stat().st_mtime_ns
    run(folder, "invert", "resume=inverted_all")
    noted = "inverted_all/settings.yaml"  # with what the dictionary fills in
    now, then = (OmegaConf.load(place / noted) for place in (folder, STORED))
    assert {key: now[key] for key in then} == then  # newer keys may stand beside them
    assert (done / "result.json").stat().st_mtime_ns == kept
    again = figures(folder / "inverted_all")
    assert again == {
        name: pytest.approx(record, abs=5e-3)
        for name, record in figures(STORED / "inverted_all").items()
    }
    assert [again[name]["psnr"] for name in IDS] == pytest.approx(PSNR["inverted_all"], abs=5e-3)


def test_an_inversion_starts_from_a_stored_one(folder: Path) -> None:
    options = ["dictionary=mined", "data.path=photos", "matches=none", "steps=1"]
    run(folder, "invert", *options, "start=inverted_all", "hydra.run.dir=started")
    for name in IDS:
        start = pixels(folder / "started/results" / name / "start.png")
        stored = STORED / "inverted_all/results" / name
        assert np.abs(start - pixels(stored / "inverted.png")).max() <= 1.0
        assert np.abs(start - pixels(stored / "start.png")).max() > 20.0


def test_a_stored_recipe_is_followed(folder: Path) -> None:
    """It stands instead of the defaults, such as the number of steps."""
    bar = "trainer.enable_progress_bar=false"
    run(folder, "edit", "recipe=edited/recipe.yaml", bar, "hydra.run.dir=again")
    then, now = (place / "results/seed_0" for place in (STORED / "edited", folder / "again"))
    figures = read(now / "edit.json")["rosetta"]
    assert figures["agreement_before"] == pytest.approx(0.261108, abs=1e-3)
    assert figures["agreement"] == pytest.approx(0.447713, abs=1e-3)
    assert figures["class_kept"] == 1.0
    recipe = (STORED / "edited/recipe.yaml").read_text()
    moved = recipe.replace("rosetta_lab.edits.Shift", "rosetta_lab.edit.edits.Shift")
    written = OmegaConf.load(folder / "again/recipe.yaml")
    assert OmegaConf.masked_copy(written, list(OmegaConf.create(moved))) == OmegaConf.create(moved)
    assert set(written) - set(OmegaConf.create(moved)) == {"pairs"} and written.pairs is None
    assert moved != recipe
    curve = load_file(now / "latent.safetensors")["curve/activation"]
    assert curve.shape == load_file(then / "latent.safetensors")["curve/activation"].shape == (5,)
    for picture in ("before.png", "rosetta.png"):
        assert np.abs(pixels(now / picture) - pixels(then / picture)).max() <= 2.0
    assert np.abs(pixels(now / "before.png") - pixels(now / "rosetta.png")).max() > 20.0


def test_a_stored_latent_is_edited(folder: Path) -> None:
    options = ["dictionary=mined", "steps=2", "reference_images=8", "controls=false", "frames=0"]
    source = f"latent.file={folder / 'latent.safetensors'}"
    run(folder, "edit", *options, source, "hydra.run.dir=moved")
    (record,) = (folder / "moved/results").rglob("edit.json")
    assert read(record)["rosetta"]["agreement"] > read(record)["rosetta"]["agreement_before"]
    inverted = pixels(STORED / "inverted_all/results/coat_red/inverted.png")
    assert np.abs(pixels(record.with_name("before.png")) - inverted).max() <= 1.0
