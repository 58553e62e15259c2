"""Every shipped config composes, and everything that it names exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

import rosetta_lab.run.app  # noqa: F401  (it registers what interpolations call)
from rosetta_lab.files import asset_root
from rosetta_lab.models.base import Generator
from rosetta_lab.models.load import load_latents
from rosetta_lab.models.recording import record
from rosetta_lab.models.units import resolve_layers
from rosetta_lab.run.configs import follow_moves, same_results

CONF = asset_root() / "conf"
EXPERIMENTS = sorted((asset_root() / "experiments").glob("*.yaml"))
COMMAND = re.compile(r"^# +python -m rosetta_lab\.(.*)$", re.MULTILINE)
REQUIRED = {"zoo_train": ["model=resnet_fashion"]}


def members(group: str) -> list[str]:
    """Names of a config group's members, or of the commands' configs (group ``.``)."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.fixture(scope="module", autouse=True)
def hydra_in_conf() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield
    HydraConfig.instance().cfg = None


def test_what_a_run_says_is_kept_under_the_commands_name() -> None:
    for name in members("."):
        hydra = OmegaConf.load(CONF / f"{name}.yaml").hydra
        run_folder = OmegaConf.to_container(hydra).get("run", {}).get("dir", "")
        if "rosetta_run_dir" in run_folder:
            assert hydra.job.name == name


def composed(command: str, *overrides: str, output: str = "somewhere") -> DictConfig:
    """A command's config, as its main function would see it in the run folder ``output``."""
    run = f"hydra.runtime.output_dir={output}"
    cfg = compose(command, [*overrides, run], return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])


def targets(config: Any) -> Iterator[str]:
    """Every ``_target_`` in a config of plain values."""
    if isinstance(config, dict):
        if "_target_" in config:
            yield config["_target_"]
        for value in config.values():
            yield from targets(value)
    elif isinstance(config, list):
        for value in config:
            yield from targets(value)


def check(cfg: DictConfig) -> None:
    """No value is missing, every interpolation resolves, every class exists."""
    for name in targets(OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)):
        assert callable(get_object(name)), name


@pytest.mark.parametrize("command", members("."))
def test_command(command: str) -> None:
    check(composed(command, *REQUIRED.get(command, [])))


@pytest.mark.parametrize("name", members("gen"))
def test_generator(name: str) -> None:
    """It is called as its file, its latents can be drawn, and its layers give maps."""
    cfg = composed("mine", f"gen={name}", "num_images=2")
    assert cfg.gen.name == name
    with torch.device("meta"):
        generator: Generator = instantiate(cfg.gen.network)
    batch = load_latents(cfg, generator).batch([0, 1])
    layers = resolve_layers(generator, cfg.gen.layers, name)
    with torch.device("meta"), torch.no_grad(), record(generator.eval(), layers) as activations:
        label = None if batch.label is None else batch.label.to("meta")
        images = generator(batch.z.to("meta"), generator.one_hot(label), cfg.psi)
    assert images.shape == (2, 3, generator.resolution, generator.resolution)
    for layer in layers:
        maps = generator.align(layer, activations[layer])
        assert maps.dim() == 4
        assert max(maps.shape[2:]) <= generator.resolution


def test_discriminative_models_compose_in_one_run() -> None:
    cfg = composed("mine", f"disc=[{','.join(members('disc'))}]")
    assert sorted(cfg.disc) == members("disc")
    check(cfg)


def test_loggers_work_together(tmp_path: Path) -> None:
    """Each writes into the run's own folder; W&B does so without a login."""
    cfg = composed("mine", f"logger=[{','.join(members('logger'))}]", output=str(tmp_path))
    loggers = {name: instantiate(entry) for name, entry in cfg.logger.items()}
    assert sorted(loggers) == members("logger")
    assert all(Path(logger.save_dir) == tmp_path for logger in loggers.values())


@pytest.mark.parametrize("name", members("model"))
def test_training(name: str) -> None:
    cfg = composed("zoo_train", f"model={name}")
    assert cfg.model.name == name
    check(cfg)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiment(path: Path) -> None:
    """The command in its heading runs it, and what was measured stands beside it."""
    command = COMMAND.search(path.read_text())
    assert command, f"no '# python -m rosetta_lab.COMMAND ...' in {path.name}"
    module, *words = shlex.split(command[1])
    overrides = [word for word in words if "=" in word]
    assert f"experiments={path.stem}" in overrides
    subcommand = [word for word in words if "=" not in word and not word.startswith("-")]
    cfg = composed("_".join([*module.split("."), *subcommand]), *overrides)
    check(cfg)
    told = OmegaConf.load(path)
    assert isinstance(told, DictConfig)
    told = OmegaConf.masked_copy(told, [key for key in told if key not in ("defaults", "hydra")])
    assert OmegaConf.merge(cfg, told) == cfg, "the command's own defaults win"
    assert path.with_suffix(".md").is_file()


NOTED = """
steps: 5
batch_size: 8
objective: psnr
loss: {l2: 1.0e-3}
data: {_target_: rosetta_lab.data.fashion_targets.FashionTargets, start: 0}
"""


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (NOTED, True),
        (NOTED.replace("size: 8", "size: 3").replace("psnr", "ssim"), True),
        (NOTED + "trainer: {devices: 4}\nlogger: {csv: {}}\nnew: 1\n", True),
        (NOTED.replace("data.fashion_targets", "data.fashion.targets"), True),
        (NOTED.replace("1.0e-3", "0.001"), True),
        (NOTED.replace("1.0e-3", "0.002"), False),
        (NOTED.replace("steps: 5", "steps: 6"), False),
        (NOTED.replace("start: 0", "start: 1"), False),
        (NOTED + "trainer: {precision: bf16-mixed}\n", False),
        ("steps: [5", False),
    ],
)
def test_which_settings_have_the_same_results(other: str, same: bool) -> None:
    assert same_results(NOTED, other) is same_results(other, NOTED) is same


def test_moved_classes_are_followed_in_a_copy() -> None:
    config = OmegaConf.create(NOTED)
    before = config.copy()
    found = follow_moves(config)
    assert found.data._target_ == "rosetta_lab.data.fashion.targets.FashionTargets"
    assert config == before != found


def test_there_are_experiments() -> None:
    assert EXPERIMENTS
