"""Plans: what they count against what a run really holds, and what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from safetensors import safe_open

from rosetta_lab.config import asset_root
from rosetta_lab.loading import load_latents, load_observer
from rosetta_lab.memory import MemoryMeter, available_memory
from rosetta_lab.modules.mining import MiningModule
from rosetta_lab.planning import MemoryPlan, ModelPlan, Plan, Timing, make_plan
from rosetta_lab.report.planning import plan_text
from rosetta_lab.units import Layer

TESTS = Path(__file__).parent
GIGA = 10**9


def toy(**options) -> DictConfig:
    """A run of two toy models; the generator's weights would have to be loaded from nowhere."""
    run = {"num_images": 40, "batch_size": 8, "seed": 0, "classes": None, "psi": 1.0}
    return OmegaConf.create(
        {
            "gen": {
                "name": "toy",
                "network": {"_target_": "toy.ToyGenerator"},
                "weights": "/no/such/file.pkl",
                "layers": ["fold", "late"],
                "latent": {"distribution": "normal"},
            },
            "disc": {
                "a": {"_target_": "toy.ToyModel", "weights": "random"},
                "b": {"_target_": "toy.ToyModel", "size": 20, "weights": "random"},
            },
            **run,
            **options,
        }
    )


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
    plan = make_plan(toy(), "cpu")
    cfg = toy()
    cfg.gen.weights = "random"
    observer = load_observer(cfg)
    latents = load_latents(cfg, observer.generator)
    module = MiningModule(observer, latents.batch([0, 1]))
    assert {m.name: m.layers for m in plan.models} == module.shapes
    assert [m.units for m in plan.models] == [10, 8, 8]
    assert plan.models[0].parameters == 12 * 64 + 64 + 4 * 6 * 9 + 6
    states = [value for metric in module.metrics().values() for value in metric.sums().values()]
    assert plan.memory.sums == sum(value.nbytes for value in states)
    tensors = [*observer.parameters(), *observer.buffers()]
    assert plan.memory.weights == sum(tensor.nbytes for tensor in tensors)
    assert plan.memory.tables == 4 * (10 * 10 + 2 * 10 * 8)
    assert plan.timing is None and plan.seconds is None
    assert plan.models[0].weights == "/no/such/file.pkl"


def test_a_batch_holds_the_maps_and_what_is_made_of_them() -> None:
    small, large = (make_plan(toy(batch_size=n), "cpu").memory.batch for n in (8, 16))
    per_image = 4 * 16 + 6 * 64 + (3 * 144 + 5 * 25) + (3 * 400 + 5 * 81)  # values of all maps
    assert small > 2 * 8 * 4 * per_image  # once as they come, once shifted
    assert small < 8 * 8 * 4 * per_image
    assert large == pytest.approx(2 * small, rel=0.05)


def test_no_batch_is_larger_than_the_run() -> None:
    assert make_plan(toy(num_images=3), "cpu").batch_size == 3


def test_time_is_measured_where_the_run_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    timing = make_plan(toy(), "cpu", measure=3).timing
    assert timing is not None and timing.images == 3
    assert timing.forward > 0 and timing.correlation >= 0 and timing.accumulation > 0
    monkeypatch.setattr("rosetta_lab.planning.available_memory", lambda device: 1000)
    plan = make_plan(toy(), "cpu", measure=3)
    assert plan.timing is None and not plan.fits


def test_available_memory_is_plausible() -> None:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < available_memory("cpu") <= total


def plan(available: float, timing: Timing | None = None) -> Plan:
    memory = MemoryPlan(2 * GIGA, 3 * GIGA, 10 * GIGA, 1 * GIGA, GIGA // 2)
    model = ModelPlan("m", "random", 7_000_000, [Layer("layer1", 64, 4, 8), Layer("x", 2, 1, 1)])
    return Plan([model], 1600, 32, "cpu", int(available * GIGA), memory, timing)


@pytest.mark.parametrize(
    ("available", "largest"), [(15.0, 32), (14.9, 31), (10.0, 16), (6.5, 4), (6.4, 0), (1.0, 0)]
)
def test_what_fits(available: float, largest: int) -> None:
    """15 GB at most: 2 for weights, 3 for sums, 10 for a batch of 32; 1.5 at the end at least."""
    made = plan(available)
    assert made.memory.peak == 15 * GIGA
    assert made.fits == (available >= 15)
    assert made.largest_batch == largest
    text = plan_text(made)
    assert ("WARNING" in text) == (not made.fits)
    assert ("Try batch_size=" in text) == (0 < largest < 32)
    assert ("Record fewer layers" in text) == (largest == 0)


def test_text() -> None:
    text = plan_text(plan(20, Timing(2, forward=0.5, correlation=0.25, accumulation=1.0)))
    assert "m: 66 units in 2 layers, 7.0 M parameters" in text
    assert "64 x 4 x 8" in text and "0.3 MB" in text  # 32 images of 64 * 32 values of 4 bytes
    assert "Time: about 21 min for 1,600 images on cpu, 1.28 images/s" in text  # 1200 s + 50 s
    assert "not measured" in plan_text(plan(20))


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rosetta_lab.plan", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_its_defaults_are_those_of_the_run() -> None:
    with initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        ours, runs = compose("plan"), compose("mine")
    shared = ours.keys() & runs.keys()
    assert shared == ours.keys() - {"format", "device", "measure"}
    assert {key: ours[key] for key in shared} == {key: runs[key] for key in shared}


def test_the_papers_largest_run(tmp_path: Path) -> None:
    """Nothing but JSON on stdout, nothing downloaded, nothing left behind."""
    models = {"resnet50": 3840, "dino_vit": 12 * 3072, "mae": 12 * 3072, "clip": 3840}
    choice = ["gen=stylegan_xl", f"disc=[{','.join(models)}]", "classes=[207]", "psi=0.5"]
    done = run(tmp_path, *choice, "measure=0", "format=json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert {m["name"]: m["units"] for m in record["models"]} == {"stylegan_xl": 25404} | models
    size = {
        layer["name"]: layer["width"] for model in record["models"] for layer in model["layers"]
    }
    assert size["synthesis.L0_36_1024"] == 16  # 36 with its margin
    assert size["blocks.11.mlp.act"] == 14
    assert record["memory"]["sums"] > 8 * 25404 * (sum(models.values()) + 25404 / 2)
    assert record["timing"] is None
    assert not list(tmp_path.iterdir())


def test_mistakes(tmp_path: Path) -> None:
    done = run(tmp_path, "format=xml")
    assert done.returncode == 1
    assert "format=xml: expected text or json" in done.stderr
    assert not done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_papers_models_run_end_to_end(tmp_path: Path) -> None:
    """With random weights, and so many layers that the tables fit into a laptop's memory."""
    models = ["resnet50", "dino_vit", "mae", "clip"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "rosetta_lab.mine", "gen=stylegan_xl"),
            *(f"disc=[{','.join(models)}]", "weights=random", "num_images=2", "batch_size=1"),
            "layers={stylegan_xl: [synthesis.L0_*, synthesis.L13_*, synthesis.L30_*], "
            "dino_vit: [blocks.11.mlp.act], mae: [blocks.11.mlp.act]}",
            *("page_images=2", "hydra.run.dir=run", "trainer.enable_progress_bar=false"),
        ],
        cwd=tmp_path,
        env={**os.environ, "ROSETTA_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"RANDOM WEIGHTS (stylegan_xl, {', '.join(models)})" in done.stdout
    dictionary = json.loads((tmp_path / "run" / "dictionary.json").read_text())
    assert list(dictionary["discriminative"]) == models
    with safe_open(tmp_path / "run" / "statistics.safetensors", "pt") as stream:
        names = list(stream.keys())
        layer = next(name for name in names if "/synthesis.L13_" in name and "/count" in name)
        assert set(stream.get_tensor(layer).tolist()) == {2 * 32 * 32}
