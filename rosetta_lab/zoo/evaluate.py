"""Figures of the embedded zoo: ``python -m rosetta_lab.zoo.evaluate [model=NAME]``.

Prints a table and writes the figures into the cards beside the weights.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from rosetta_lab.data.fashion.scenes import FashionScenes
from rosetta_lab.files import asset_root, atomic_write
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.load import load_generator
from rosetta_lab.run.app import entry_point
from rosetta_lab.zoo.figures import class_accuracy, linear_probe, zero_shot
from rosetta_lab.zoo.generator_figures import generator_figures


def load_disc(name: str, **overrides: Any) -> DiscriminativeModel:
    """The discriminative model of ``conf/disc/NAME.yaml``, some of its arguments replaced."""
    config = OmegaConf.load(asset_root() / "conf" / "disc" / f"{name}.yaml")
    model: DiscriminativeModel = instantiate(config, **overrides)
    return model


def evaluate(cfg: DictConfig, name: str, kind: str) -> dict[str, float]:
    """The figures of one model; ``kind`` is the entry ``figures`` of its training config."""
    test = FashionScenes("test", cfg.seeds.test, root=cfg.data.root)
    train = FashionScenes("train", cfg.seeds.probe, root=cfg.data.root)
    if kind == "generator":
        generator = load_generator(OmegaConf.load(asset_root() / f"conf/gen/{name}.yaml"))  # type: ignore[arg-type]
        return generator_figures(generator, load_disc(cfg.judge), test, cfg.images, train)
    model = load_disc(name)
    if kind == "linear_probe":
        return linear_probe(model, test, cfg.images, train)
    return {"class_accuracy": class_accuracy, "zero_shot": zero_shot}[kind](model, test, cfg.images)


def note(card: Path, figures: dict[str, float], images: int) -> None:
    """Put figures into a model's card."""
    content = json.loads(card.read_text())
    content["figures"] = {k: round(v, 4) for k, v in figures.items()} | {"images": images}
    atomic_write(card, (json.dumps(content, indent=2) + "\n").encode())


@entry_point("zoo_evaluate")
def main(cfg: DictConfig) -> None:
    for path in sorted((asset_root() / "conf" / "model").glob("*.yaml")):
        name, kind = path.stem, OmegaConf.load(path).figures
        if cfg.model is not None and cfg.model.name != name:
            continue
        if not (Path(cfg.weights_dir) / f"{name}.safetensors").is_file():
            print(f"{name:22s} has no weights in {cfg.weights_dir}", flush=True)
            continue
        start = time.monotonic()
        figures = evaluate(cfg, name, kind)
        for key, value in figures.items():
            print(f"{name:22s} {key:30s} {value:8.4f}", flush=True)
        print(f"{name:22s} {'seconds':30s} {time.monotonic() - start:8.1f}", flush=True)
        if cfg.write:
            note(Path(cfg.weights_dir) / f"{name}.json", figures, cfg.images)


if __name__ == "__main__":
    main()
