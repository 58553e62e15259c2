"""Plans: what they count against what a run really holds, and what they say."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import call
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from safetensors import safe_open

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import asset_root
from rosetta_lab.mine.module import MiningModule, shapes_of
from rosetta_lab.mine.sums import Sums
from rosetta_lab.models.load import load_latents, load_observer
from rosetta_lab.models.observer import Observer
from rosetta_lab.models.units import Layer
from rosetta_lab.plan import rehearsal
from rosetta_lab.plan.memory import MemoryMeter, available_memory, cgroup_memory
from rosetta_lab.plan.plan import MEASURING, MemoryPlan, ModelPlan, Plan, make_plan
from rosetta_lab.plan.rehearsal import Timing
from rosetta_lab.plan.text import plan_text

TESTS = Path(__file__).parents[1]
GIGA = 10**9


def toy(**options) -> DictConfig:
    """A run of two toy models; the generator's weights would have to be loaded from nowhere."""
    run = {"num_images": 40, "batch_size": 8, "seed": 0, "classes": None, "psi": 1.0, "k_gen": 5}
    run |= {"k_disc": 5, "correlation": "pooled", "null": "shuffled", "draws": None, "blocks": None}
    run |= {"center": None, "max_fdr": 0.05, "control": None, "save_tables": False}
    run |= {"sums": "float32", "row_blocks": 1}
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
    small, large = (make_plan(toy(batch_size=n), "cpu").memory.batch for n in (8, 16))
    per_image = 4 * 16 + 6 * 64 + (3 * 144 + 5 * 25) + (3 * 400 + 5 * 81)  # values of all maps
    assert small > 2 * 8 * 4 * per_image  # once as they come, once shifted
    assert small < 8 * 8 * 4 * per_image
    assert large == pytest.approx(2 * small, rel=0.05)


def test_no_batch_is_larger_than_the_run() -> None:
    assert make_plan(toy(num_images=3), "cpu").batch_size == 3


class Clock:
    """Seconds that pass only when something is said to take some."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def charge(self, monkeypatch: pytest.MonkeyPatch, where: object, name: str, cost) -> None:
        """Let a function take ``cost(*its arguments)`` seconds; the first of a cost takes more."""
        original, warm = getattr(where, name), set()

        def charged(*args, **kwargs):
            seconds = cost(*args)
            self.now += seconds if seconds in warm else seconds + 100.0
            warm.add(seconds)
            return original(*args, **kwargs)

        monkeypatch.setattr(where, name, charged)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Per batch, 0.02 s for the forward pass and 0.5 s to accumulate; per image, 0.01 s and 0.1."""
    clock = Clock()
    monkeypatch.setattr(rehearsal, "perf_counter", clock)
    clock.charge(monkeypatch, Observer, "forward", lambda self, batch, *_: 0.02 + 0.01 * len(batch))
    images = lambda sums, maps: len(maps[sums.reference]["fold"])  # noqa: E731
    clock.charge(monkeypatch, rehearsal, "correlate", lambda *args: 0.5 + 0.1 * images(*args))
    monkeypatch.setattr(
        rehearsal, "accumulate", lambda sums: setattr(clock, "now", clock.now + 0.5)
    )
    return clock


def test_time_of_a_batch_as_the_run_has_it(clock: Clock) -> None:
    """Whatever a batch of one image costs, and whatever the first of a shape."""
    plan = make_plan(toy(), "cpu", measure=1.0)
    timing = plan.timing
    assert timing is not None and timing.images == 8
    assert timing.forward == pytest.approx(0.02 / 8 + 0.01)
    assert timing.correlation == pytest.approx(0.1)
    assert timing.accumulation == pytest.approx(0.5)
    assert plan.seconds == pytest.approx(40 * 0.11 + 5 * 0.52)
    assert plan.to_dict()["images_per_second"] == pytest.approx(40 / plan.seconds)
    odd = make_plan(toy(num_images=7, batch_size=5), "cpu", measure=1.0)
    assert odd.timing is not None and odd.timing.images == 5
    assert odd.seconds == pytest.approx(7 * (0.02 / 5 + 0.11) + 2 * 0.5)


def test_slow_networks_are_timed_on_few_images(clock: Clock) -> None:
    """Two take 0.04 s, so four are not tried."""
    timing = make_plan(toy(), "cpu", measure=0.035).timing
    assert timing is not None and timing.images == 2
    assert timing.forward == pytest.approx(0.02)


def test_what_fits_is_timed(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer images at a time; the models alone; or nothing, and then the text says why."""
    memory = make_plan(toy(), "cpu").memory
    memory = replace(memory, sums=memory.batch)  # so large are they in runs that do not fit
    monkeypatch.setattr("rosetta_lab.plan.plan.plan_memory", lambda *_: memory)

    def with_room(extra: float) -> Plan:
        needed = memory.weights + memory.sums + extra * memory.batch
        available = int(needed / MEASURING) + 1
        monkeypatch.setattr("rosetta_lab.plan.plan.available_memory", lambda device: available)
        return make_plan(toy(), "cpu", measure=1.0)

    assert with_room(1.0).timing.images == 8
    few = with_room(0.4)
    assert not few.fits and few.timing.images == 3
    assert f"Try batch_size={few.largest_batch}." in plan_text(few)
    alone = with_room(0.3 - 1.0)
    assert alone.timing.images == 2 and alone.timing.correlation is None
    assert alone.seconds == pytest.approx(40 * (0.01 + 0.01))
    assert "for the models alone: the sums do not fit" in plan_text(alone)
    nothing = with_room(0.1 - 1.0)
    assert nothing.timing is None
    assert "not measured, since not even one image fits" in plan_text(nothing)


def test_real_work_takes_time() -> None:
    timing = make_plan(toy(), "cpu", measure=0.01).timing
    assert timing.forward > 0 and timing.correlation >= 0 and timing.accumulation > 0


def test_available_memory_is_plausible() -> None:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < available_memory("cpu") <= total


def test_memory_that_control_groups_leave(tmp_path: Path) -> None:
    """Of both versions; limits further up count, and files in the cache do not."""

    def group(path: str, **files: str) -> None:
        folder = tmp_path / "sys/fs/cgroup" / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / f"memory.{name}").write_text(text + "\n")

    assert cgroup_memory(tmp_path) == []
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/job/step\n5:cpu,memory:/old\n3:cpuset:/x\n")
    assert cgroup_memory(tmp_path) == []
    group("job/step", max="max", current="50", stat="anon 50")
    group("job", max="1000", current="300", stat="anon 200\ninactive_file 100")
    assert cgroup_memory(tmp_path) == [800]
    stat = "inactive_file 1\ntotal_inactive_file 20"
    group("memory/old", limit_in_bytes="700", usage_in_bytes="100", stat=stat)
    assert cgroup_memory(tmp_path) == [800, 620]


@pytest.mark.parametrize(
    ("given", "megabytes"),
    [
        ({"MEM_PER_NODE": "64"}, 64),
        ({"MEM_PER_CPU": "16", "CPUS_ON_NODE": "3"}, 48),
        ({"MEM_PER_NODE": "0"}, None),  # all of the node's
        ({}, None),
    ],
)
def test_memory_that_slurm_gives(
    given: dict[str, str], megabytes: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rosetta_lab.plan.memory.cgroup_memory", lambda: [])
    for name in ("MEM_PER_NODE", "MEM_PER_CPU", "CPUS_ON_NODE"):
        monkeypatch.delenv(f"SLURM_{name}", raising=False)
    free = available_memory("cpu")
    assert free > 2**30
    for name, value in given.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert (available_memory("cpu") < 2**30) == (megabytes is not None)
    assert megabytes is None or available_memory("cpu") == megabytes * 2**20


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
    assert ("take 1.5 GB beside weights and sums" in text) == (largest == 0)


def test_what_makes_it_not_fit() -> None:
    """The rows add up to the peak; where no image fits, it is not the tables."""
    text = plan_text(plan(1.0))
    assert re.search(r"a model's tables +1.00 GB", text)
    assert re.search(r"copies while they are made +0.50 GB", text)
    assert "until it is finished up to 3.00 GB of sums" in text
    large = MemoryPlan(2 * GIGA, 3 * GIGA, 100 * GIGA, 1 * GIGA, GIGA // 2)
    assert "Not even one image at a time fits" in plan_text(replace(plan(7), memory=large))


def test_text() -> None:
    made = plan(20, Timing(2, forward=0.5, correlation=0.25, accumulation=1.0))
    text = plan_text(made)
    assert "m: 66 units in 2 layers, 7.0 M parameters" in text
    assert "64 x 4 x 8" in text and "0.3 MB" in text  # 32 images of 64 * 32 values of 4 bytes
    assert "Time: about 21 min for 1,600 images on cpu, 1.28 images/s" in text  # 1200 s + 50 s
    assert "not measured." in plan_text(plan(20))
    record = made.to_dict()
    assert record["models"][0]["layers"][0]["bytes"] == 32 * 64 * 32 * 4
    assert record["images_per_second"] == pytest.approx(1.28)
    assert record["disk"] == {"unfinished": 3 * GIGA}


def test_any_command_of_the_run_is_one_of_the_plan() -> None:
    """The plan knows every key of the run, with the same default."""
    with initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        ours, runs = (OmegaConf.to_container(compose(name)) for name in ("plan", "mine"))
    assert isinstance(ours, dict) and isinstance(runs, dict)
    assert ours.keys() - runs.keys() == {"format", "device", "measure"}
    assert {key: ours[key] for key in runs} == runs


def test_the_papers_largest_run(tmp_path: Path) -> None:
    """Nothing but JSON on stdout, nothing downloaded, nothing left behind."""
    models = {"resnet50": 3840, "dino_vit": 12 * 3072, "mae": 12 * 3072, "clip": 3840}
    choice = ["gen=stylegan_xl", f"disc=[{','.join(models)}]", "classes=[207]", "psi=0.5"]
    done = call("plan", *choice, "measure=0", "format=json", cwd=tmp_path)
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


def test_a_command_of_the_run(tmp_path: Path) -> None:
    """With arguments that change nothing here; random weights are told of, and not on stdout."""
    arguments = ["experiments=dictionary_fashion", "k=3", "trainer.devices=2", "weights=random"]
    said = ["logger=[tensorboard]", "measure=0", "format=json"]
    done = call("plan", *arguments, *said, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [m["weights"] for m in json.loads(done.stdout)["models"]] == ["random"] * 6
    assert re.fullmatch(r"RANDOM WEIGHTS \(stylegan2_fashion, .*\): a test .*\n", done.stderr)
    assert not list(tmp_path.iterdir())


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
        make_plan(toy(), device)


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
