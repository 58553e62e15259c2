"""Plans: what they count against what a run really holds, and what they say."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from commands import call
from given import photos
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from planned import toy_run
from safetensors import safe_open
from selenium import webdriver
from static_pages import check_page

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import asset_root
from rosetta_lab.mine.budget import MemoryPlan, Way
from rosetta_lab.mine.module import MiningModule
from rosetta_lab.mine.pilot import shapes_of
from rosetta_lab.mine.sums import Sums
from rosetta_lab.models.load import load_latents, load_observer
from rosetta_lab.models.units import Layer
from rosetta_lab.plan.page import write_plan
from rosetta_lab.plan.plan import ModelPlan, Plan, make_plan
from rosetta_lab.plan.rehearsal import Timing
from rosetta_lab.plan.text import memory_text, plan_text
from rosetta_lab.run.memory import MemoryMeter

GIGA = 10**9


def test_the_meter_counts_what_is_alive() -> None:
    with MemoryMeter() as meter:
        a = torch.zeros(10, 25, device="meta")  # 1,000 bytes
        view = a[:, 1:].t()
        b = a + 1  # 2,000
        assert meter.live == 2000
        del a
        assert meter.live == 2000  # the view holds it
        del view
        assert meter.live == 1000
        c = torch.cat([b, b]).double()  # 1,000 + 2,000, and 4,000 on the way there
        assert (meter.live, meter.peak) == (5000, 7000)
        b.add_(1)
        torch.zeros(999)  # not on this device
        assert (meter.live, meter.peak) == (5000, 7000)
        del b, c
        assert meter.live == 0


def test_shapes_and_sums_are_those_of_the_run() -> None:
    plan = make_plan(toy_run(), "cpu")
    cfg = toy_run()
    cfg.gen.weights = "random"
    observer = load_observer(cfg)
    latents = load_latents(cfg, observer.source.generator)
    pilot = latents.batch([0, 1])
    shapes = shapes_of(observer, pilot)
    module = MiningModule(observer, shapes, pilot, len(latents))
    assert {m.name: m.layers for m in plan.models} == module.shapes
    assert [m.units for m in plan.models] == [10, 8, 8]
    assert plan.models[0].parameters == 12 * 64 + 64 + 4 * 6 * 9 + 6
    sums = Sums(module.groups, "toy", module.evidence, module.grouping)
    metrics = sums.metrics().values()
    states = [value for metric in metrics for value in metric.sums().values()]
    assert plan.memory.sums == sum(value.nbytes for value in states)
    tensors = [*observer.parameters(), *observer.buffers()]
    assert plan.memory.weights == sum(tensor.nbytes for tensor in tensors)
    draws = module.grouping.draws
    assert draws == 3  # few units
    assert plan.timing is None and plan.seconds is None
    assert plan.models[0].weights == "/no/such/file.pkl"


def test_a_batch_holds_the_maps_and_what_is_made_of_them() -> None:
    small, large = (make_plan(toy_run(batch_size=n), "cpu").memory.batch for n in (8, 16))
    per_image = 4 * 16 + 6 * 64 + (3 * 144 + 5 * 25) + (3 * 400 + 5 * 81)  # values of all maps
    assert small > 8 * 4 * per_image
    assert small < 8 * 8 * 4 * per_image
    assert large == pytest.approx(2 * small, rel=0.05)


def test_no_batch_is_larger_than_the_run() -> None:
    assert make_plan(toy_run(num_images=3), "cpu").way.batch_size == 3


def plan(budget: float, timing: Timing | None = None, passes: int = 1) -> Plan:
    memory = MemoryPlan(2 * GIGA, 3 * GIGA, 10 * GIGA, 1 * GIGA)
    model = ModelPlan("m", "random", 7_000_000, [Layer("layer1", 64, 4, 8), Layer("x", 2, 1, 1)])
    rows = [range(start, start + 66 // passes) for start in range(0, 66, 66 // passes)]
    way = Way(32, rows, memory, int(budget * GIGA))
    return Plan([model], 1600, "cpu", 20 * GIGA, way, timing)


@pytest.mark.parametrize("budget", [15.0, 14.9])
def test_what_fits(budget: float) -> None:
    """15 GB at most: 2 for weights, 3 for sums, 10 for a batch of 32."""
    made = plan(budget)
    assert made.memory.peak == 15 * GIGA
    assert made.way.fits == (budget >= 15)
    text = plan_text(made)
    assert ("WARNING: it will not fit: 15.0 GB are needed" in text) == (not made.way.fits)
    assert re.search(r"sums +3.00 GB", text) and "until it is finished up to 3.00 GB" in text
    assert "passes over the images" not in text
    assert "3 passes over the images, each of some of m's units" in plan_text(plan(budget, None, 3))


def test_text() -> None:
    made = plan(20, Timing(2, forward=0.5, correlation=0.25, accumulation=1.0))
    text = plan_text(made)
    assert "m: 66 units in 2 layers, 7.0 M parameters" in text
    assert "64 x 4 x 8" in text and "0.3 MB" in text  # 32 images of 64 * 32 values of 4 bytes
    assert "Time: about 21 min for 1,600 images on cpu, 1.28 images/s" in text  # 1200 s + 50 s
    assert "Time: about 62 min" in plan_text(plan(20, made.timing, 3))  # three such passes
    assert "not measured." in plan_text(plan(20))
    record = made.to_dict()
    assert record["models"][0]["layers"][0]["bytes"] == 32 * 64 * 32 * 4
    assert record["images_per_second"] == pytest.approx(1.28)
    assert record["disk"] == {"unfinished": 3 * GIGA, "maps": 0}
    # A disk with room for a fifth of the images' maps, read in a fifth of the networks' time.
    kept = replace(plan(20, replace(made.timing, recall=0.1), 3), room=1600 * 2050 * 4 // 5)
    assert kept.seconds == pytest.approx(1600 * (0.5 + 2 * 0.42) + 3 * 450)
    assert "of maps: only the first pass runs the networks on 20 % of the images" in plan_text(kept)
    assert kept.to_dict()["disk"]["maps"] == kept.room


def test_any_command_of_the_run_is_one_of_the_plan() -> None:
    """The plan knows every key of the run, with the same default."""
    with initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        ours, runs = (OmegaConf.to_container(compose(name)) for name in ("plan", "mine"))
    assert isinstance(ours, dict) and isinstance(runs, dict)
    assert ours.keys() - runs.keys() == {"format", "device", "measure", "page"}
    assert {key: ours[key] for key in runs} == runs


@pytest.mark.slow
def test_the_papers_largest_run(tmp_path: Path) -> None:
    """Nothing but JSON on stdout, nothing downloaded, nothing left behind."""
    models = {"resnet50": 3840, "dino_vit": 12 * 3072, "mae": 12 * 3072, "clip": 3840}
    choice = [
        "gen=stylegan_xl",
        f"disc=[{','.join(models)}]",
        "classes=[207]",
        "psi=0.5",
        "memory=16GB",
    ]
    done = call("plan", *choice, "measure=0", "format=json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert {m["name"]: m["units"] for m in record["models"]} == {"stylegan_xl": 25404} | models
    size = {
        layer["name"]: layer["width"] for model in record["models"] for layer in model["layers"]
    }
    assert size["synthesis.L0_36_1024"] == 16  # 36 with its margin
    assert size["blocks.11.mlp.act"] == 14
    blocks = record["row_blocks"]
    assert blocks[0][0] == 0 and blocks[-1][1] == 25404
    assert all(before[1] == after[0] for before, after in pairwise(blocks))
    memory, most = record["memory"], max(stop - start for start, stop in blocks)
    assert record["fits"] and memory["peak"] <= memory["budget"] == 16 * GIGA
    assert memory["sums"] > 2 * 4 * most * sum(models.values())  # true pairs, and shuffled ones
    assert record["timing"] is None
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_command_of_the_run(tmp_path: Path) -> None:
    """With arguments that change nothing here; random weights are told of, and not on stdout."""
    arguments = ["experiments=dictionary_fashion", "k=3", "trainer.devices=2", "weights=random"]
    said = ["logger=[tensorboard]", "measure=0", "format=json"]
    done = call("plan", *arguments, *said, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [m["weights"] for m in json.loads(done.stdout)["models"]] == ["random"] * 6
    assert re.fullmatch(r"RANDOM WEIGHTS \(stylegan2_fashion, .*\): a test .*\n", done.stderr)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_takes_minutes_is_told_before(tmp_path: Path) -> None:
    """And not on stdout, which a program may read."""
    small = ("disc=[resnet_fashion]", "batch_size=2", "measure=0.001", "format=json")
    done = call("plan", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["timing"] is not None
    assert done.stderr.startswith("Measuring") and "measure=0" in done.stderr
    assert call("plan", *small[:-2], "measure=0", cwd=tmp_path).stderr == ""


def test_reference_layers(tmp_path: Path) -> None:
    done = call(
        "plan",
        *("gen=stylegan2_lsun_cat", "disc=[resnet_fashion]", "layers=reference"),
        *("measure=0", "format=json", "batch_size=1"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    generator = json.loads(done.stdout)["models"][0]
    sizes = [2 ** (3 + place) for place in range(6)]  # 8 to 256
    expected = {f"synthesis.b{s}.{kind}" for s in sizes for kind in ("conv0", "conv1", "torgb")}
    assert {layer["name"] for layer in generator["layers"]} == expected


@pytest.mark.parametrize("device", ["banana", "cuda:99", "mps"])
def test_devices_that_are_not_there(device: str) -> None:
    with pytest.raises(RosettaError, match=rf"device={device}: there is no .*\n.* from cpu"):
        make_plan(toy_run(), device)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("format=xml", "format=xml: there is no such choice"),
        ("disc=[]", "disc=[]: there is no model"),
    ],
)
def test_mistakes(argument: str, message: str, tmp_path: Path) -> None:
    done = call("plan", argument, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 2
    assert not done.stdout


@pytest.mark.slow
def test_the_papers_models_run_end_to_end(tmp_path: Path) -> None:
    """With random weights, and so many layers that the tables fit into a laptop's memory."""
    models = ["resnet50", "dino_vit", "mae", "clip"]
    done = call(
        "mine",
        *("gen=stylegan_xl", f"disc=[{','.join(models)}]", "weights=random"),
        "layers={stylegan_xl: [synthesis.L0_*, synthesis.L13_*, synthesis.L30_*], "
        "dino_vit: [blocks.11.mlp.act], mae: [blocks.11.mlp.act]}",
        *("num_images=2", "batch_size=1", "page_images=2", "hydra.run.dir=run"),
        "trainer.enable_progress_bar=false",
        cwd=tmp_path,
        ROSETTA_OFFLINE="1",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"RANDOM WEIGHTS (stylegan_xl, {', '.join(models)})" in done.stdout
    dictionary = json.loads((tmp_path / "run" / "dictionary.json").read_text())
    assert list(dictionary["discriminative"]) == models
    with safe_open(tmp_path / "run" / "statistics.safetensors", "pt") as stream:
        names = list(stream.keys())
        layer = next(name for name in names if "/synthesis.L13_" in name and "/count" in name)
        assert set(stream.get_tensor(layer).tolist()) == {2 * 32 * 32}


def test_given_images_are_counted_and_not_looked_at(tmp_path: Path) -> None:
    """Of many, the few that show sizes and bytes are read; here all but these are broken."""
    folder = photos(tmp_path / "photos", 30)
    for path in sorted(folder.iterdir())[8:]:
        path.write_bytes(b"broken")
    given = {"gen": None, "data": None, "images": str(folder), "psi": None}
    plan = make_plan(toy_run(**given), "cpu")
    assert plan.num_images == 30 and [model.name for model in plan.models] == ["a", "b"]
    assert (plan.rounds, plan.way.batch_size) == (1, 8)
    every = make_plan(toy_run(**given, reference="all"), "cpu", measure=0.01)
    assert every.rounds == 2 and "2 rounds over the images" in plan_text(every)
    timing = every.timing
    assert timing is not None and every.seconds == pytest.approx(2 * timing.seconds(30, 8))


def test_what_is_known_at_once_is_told_before_time_is_measured() -> None:
    told: list[Plan] = []
    made = make_plan(toy_run(), "cpu", 0.01, told.append)
    assert told[0].timing is None and made.timing is not None
    assert told[0].memory == made.memory
    text = plan_text(made)
    assert text.startswith(memory_text(told[0])) and "Time" not in memory_text(made)


def test_a_plan_has_a_page(driver: webdriver.Chrome, tmp_path: Path) -> None:
    made = plan(14.0, Timing(2, forward=0.5, correlation=0.25, accumulation=1.0))
    path = write_plan(tmp_path / "plan & #1.html", made)
    check_page(driver, path, tmp_path, 0)
    text = driver.execute_script("return document.body.innerText")
    assert "15.00 GB" in text and "21 min" in text and "layer1" in text
    assert "it will not fit: 15.0 GB are needed" in text
    write_plan(path, plan(20.0))
    assert "not measured" in path.read_text() and "will not fit" not in path.read_text()
