"""Means, intervals and the tables of an ablation; the command; its page."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from commands import call
from page_fixtures import HOSTILE_MODEL
from sample_pages import ablation_page
from selenium import webdriver
from static_pages import check_links, check_page

from rosetta_lab.ablate.results import interval, number, rows_of
from rosetta_lab.ablate.units import ARMS, MATCHED, RANDOM, ROSETTA, Chosen
from rosetta_lab.models.units import Layer, UnitIndex


def chosen(draws: int) -> Chosen:
    arms = {arm: [torch.tensor([0, 1])] * draws for arm in (MATCHED, RANDOM)}
    index = UnitIndex([Layer("layer", 8, 4, 4)])
    return Chosen(index, torch.zeros(8), torch.ones(8), {ROSETTA: [torch.tensor([2, 3])], **arms})


def noise(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def test_intervals_are_over_images_and_differences_are_paired() -> None:
    """Against what normal distributions say; images differ much more than the arms do."""
    image = 10.0 * noise(1, 400, seed=1)
    lost = {ROSETTA: image + 1.0, MATCHED: image + 0.3 * noise(4, 400, seed=2), RANDOM: image}
    rows = {row.arm: row for row in rows_of("m", chosen(4), {"hue": lost}, 4000)}
    for arm, values in lost.items():
        mean = values.mean(dim=0).double().numpy()  # over draws
        error = 1.96 * mean.std(ddof=1) / math.sqrt(400)
        found = rows[arm].lost
        assert found.mean == pytest.approx(mean.mean(), abs=1e-5)
        assert found.low == pytest.approx(mean.mean() - error, abs=0.1 * error)
        assert found.high == pytest.approx(mean.mean() + error, abs=0.1 * error)
        assert found.images == 400
    assert rows[RANDOM].beyond.low == pytest.approx(1.0, abs=1e-5)  # the same of every image
    beyond = (lost[ROSETTA] - lost[MATCHED].mean(dim=0)).double().numpy()[0]
    error = 1.96 * beyond.std(ddof=1) / math.sqrt(400)
    found = rows[MATCHED].beyond
    assert found.mean == pytest.approx(beyond.mean(), abs=1e-5)
    assert found.high - found.low == pytest.approx(2 * error, rel=0.1)
    assert rows[ROSETTA].beyond is None
    assert rows[MATCHED].draws == pytest.approx(lost[MATCHED].mean(dim=1).tolist(), abs=1e-5)
    assert (rows[MATCHED].units, rows[ROSETTA].units) == (2, 2)


def test_images_without_a_figure_are_left_out() -> None:
    own, other = noise(1, 40), noise(2, 40, seed=1)
    own[0, 8:] = torch.nan
    other[0, :5] = torch.nan  # one of two draws
    other[:, 5:8] = torch.nan  # both
    rows = rows_of("m", chosen(2), {"hue": {ROSETTA: own, MATCHED: other, RANDOM: own * 0.0}}, 100)
    rosetta, matched, random = rows
    assert (rosetta.lost.images, rosetta.lost.of) == (8, 40)
    assert rosetta.lost.mean == pytest.approx(float(own[0, :8].mean()), abs=1e-6)
    assert matched.lost.images == 37
    means = torch.cat([other[1, :5], other[:, 8:].mean(dim=0)])
    assert matched.lost.mean == pytest.approx(float(means.mean()), abs=1e-6)
    assert matched.beyond.images == 5
    beyond = own[0, :5] - other[1, :5]
    assert matched.beyond.mean == pytest.approx(float(beyond.mean()), abs=1e-6)
    assert random.beyond.images == 8
    assert rosetta.text().endswith(", 8 of 40 images")


def test_a_figure_that_no_image_shows_is_none() -> None:
    values = torch.full((1, 50), torch.nan)
    row = rows_of("m", chosen(1), {"hue": dict.fromkeys(ARMS, values)}, 100)[0]
    assert row.lost is None and row.text() == "\u2013" == interval("hue", row.lost)


def test_numbers_are_in_the_unit_of_their_title() -> None:
    assert number("accuracy", -0.1234) == "\u221212.3"
    assert number("hue", 12.34, "+") == "+12.3"
    assert number("similarity", 0.00123) == "0.0012"
    assert number("lpips_fashion", 0.1234) == "0.123"


# The command


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, fashion_mnist: Path) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("ablate")
    done = call(
        "ablate", "data.per_class=2", "latents=12", "draws=2", "resamples=100", "pictures=2",
        "batch_size=8", "trainer.accelerator=cpu", "hydra.run.dir=run", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "run", done.stdout


def test_the_embedded_zoo_is_ablated(run: tuple[Path, str]) -> None:
    folder, said = run
    with (folder / "results.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    models = {row["model"] for row in table}
    assert models == {
        "stylegan2_fashion", "resnet_fashion", "dino_resnet_fashion", "dino_vit_fashion",
        "mae_fashion", "clip_fashion",
    }  # fmt: skip
    figures = {name: {r["figure"] for r in table if r["model"] == name} for name in models}
    assert figures.pop("resnet_fashion") == {"accuracy", "similarity"}  # it puts out the classes
    generator = figures.pop("stylegan2_fashion")
    assert generator == {"lpips_fashion", "pixels", "recognised", "garment", "centre", "hue"}
    assert all(found == {"similarity"} for found in figures.values())
    record = json.loads((folder / "results.json").read_text())
    assert len(record["rows"]) == len(table)
    for row, line in zip(record["rows"], table, strict=True):
        assert (row["model"], row["figure"], row["arm"]) == tuple(line.values())[:3]
        if row["lost"] is not None:
            assert float(line["lost"]) == row["lost"]["mean"]
            assert row["lost"]["low"] <= row["lost"]["mean"] <= row["lost"]["high"]
        assert len(row["draws"]) <= 2
    units = record["units"]["resnet_fashion"]
    assert len(units["rosetta"]) == 1 and len(units["random"]) == len(units["matched"]) == 2
    for model in models:
        assert f"{model}: " in said
    assert "accuracy lost (%)" in said and str(folder / "index.html") in said


@pytest.mark.slow
def test_an_image_without_a_label_is_looked_at_too(tmp_path: Path) -> None:
    photos = next((Path(__file__).parents[1] / "stored" / "photos").iterdir())
    done = call(
        "ablate", f"images={photos}", "latents=2", "draws=1", "resamples=20", "pictures=1",
        "trainer.accelerator=cpu", "hydra.run.dir=run", "logger=[]", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "accuracy lost" not in done.stdout and "output changed" in done.stdout
    single = [line for line in done.stdout.splitlines() if line.startswith("mae_fashion: ")]
    assert len(single) == 1 and "nan" not in single[0]  # one image alone is far from no other


def test_mistakes_are_told_in_a_line_or_two(tmp_path: Path) -> None:
    done = call("ablate", "draws=0", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 1
    assert "draws=0: expected a whole number from 1 on" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_page_of_a_run_loads_whole(driver: webdriver.Chrome, run: tuple[Path, str]) -> None:
    check_page(driver, run[0] / "index.html", run[0], images=2 * 4)
    check_links(driver)


def test_the_page_shows_what_was_measured(
    driver: webdriver.Chrome, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("ablation with spaces & signs #1")
    page = ablation_page(folder)
    check_page(driver, page, folder, images=2 * 4)
    text = driver.execute_script("return document.body.innerText")
    assert HOSTILE_MODEL in text and "accuracy lost (%)" in text
    with (folder / "results.csv").open(newline="") as stream:
        lost = [row for row in csv.DictReader(stream) if row["figure"] == "accuracy"]
    for row in lost:
        assert interval_text(row) in text
    assert driver.execute_script("return document.scripts.length") == 1


def interval_text(row: dict[str, str]) -> str:
    mean, low, high = (f"{100 * float(row[key]):.1f}" for key in ("lost", "low", "high"))
    return f"{mean} [{low}, {high}]".replace("-", "\u2212")
