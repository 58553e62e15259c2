"""Train a model of the embedded zoo: ``python -m rosetta_lab.zoo.train model=NAME``.

Running the command again resumes from the last checkpoint. When training is over, the weights and
their card are written to the package's ``zoo/weights`` (or ``weights_dir=``).
"""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.utils import get_class, instantiate
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save
from torch.utils.data import DataLoader

from rosetta_lab.data.fashion.scenes import FashionScenes
from rosetta_lab.data.latents import as_is
from rosetta_lab.files import atomic_write
from rosetta_lab.run.app import entry_point


class FreshScenes(Callback):
    """Every epoch shows the garments in new places and colours."""

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert trainer.train_dataloader is not None
        trainer.train_dataloader.dataset.seed = trainer.current_epoch


class Stopwatch(Callback):
    """Seconds spent in training, over all resumed runs."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._since = time.monotonic()

    def on_train_batch_end(self, *args: Any) -> None:
        now = time.monotonic()
        self.seconds += now - self._since
        self._since = now

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds = state_dict["seconds"]


def export(
    network: torch.nn.Module, folder: Path, name: str, card: dict[str, Any], half: bool = False
) -> Path:
    """Write ``name.safetensors`` and its card ``name.json``; whole files or none.

    ``half`` stores float16, half the size.
    """
    weights = folder / f"{name}.safetensors"
    state = {k: v.detach().contiguous().clone() for k, v in network.state_dict().items()}
    if half:
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    data = save(state)
    card = {
        "name": name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "parameters": sum(p.numel() for p in network.parameters()),
        **card,
    }
    atomic_write(weights, data)
    atomic_write(folder / f"{name}.json", (json.dumps(card, indent=2) + "\n").encode())
    return weights


@entry_point("zoo_train")
def main(cfg: DictConfig) -> None:
    L.seed_everything(cfg.seed)
    model = cfg.model
    folder = Path(cfg.run_dir)
    module: Any = instantiate(model.module)
    module.to(memory_format=torch.channels_last)
    kind = get_class(model.dataset) if "dataset" in model else FashionScenes
    dataset = kind("train", root=cfg.data.root)
    loader = DataLoader(dataset, model.batch_size, shuffle=True, drop_last=True, collate_fn=as_is)
    stopwatch = Stopwatch()
    trainer = L.Trainer(
        accelerator=cfg.accelerator,
        max_steps=-1,
        max_epochs=-1,
        logger=CSVLogger(folder, name="", version=""),
        log_every_n_steps=50,
        enable_model_summary=False,
        callbacks=[
            FreshScenes(),
            stopwatch,
            StopAfterImages(model.images, model.batch_size),
            ModelCheckpoint(
                folder,
                filename="last",
                every_n_train_steps=cfg.checkpoint_every,
                enable_version_counter=False,
            ),
            TQDMProgressBar(refresh_rate=20),
        ],
        **OmegaConf.to_container(model.get("trainer", OmegaConf.create())),  # type: ignore[arg-type]
    )
    last = folder / "last.ckpt"
    trainer.fit(module, loader, ckpt_path=str(last) if last.exists() else None, weights_only=True)
    trainer.save_checkpoint(last)
    card = {
        "command": f"python -m rosetta_lab.zoo.train model={model.name}",
        "data": "fashion_scenes, 60,000 training garments",
        "seed": cfg.seed,
        "images_seen": StopAfterImages.seen(trainer, model.batch_size),
        "training_seconds": round(stopwatch.seconds),
        "threads": torch.get_num_threads(),
        "trained_on": datetime.now(UTC).date().isoformat(),
        "torch": str(torch.__version__),
        "config": OmegaConf.to_container(model, resolve=True),
    }
    weights = export(
        module.trained(), Path(cfg.weights_dir), model.name, card, model.get("half", False)
    )
    print(f"{weights}: {weights.stat().st_size / 1e6:.1f} MB")


class StopAfterImages(Callback):
    """Ends training after a number of images, counted over all resumed runs."""

    def __init__(self, images: int, batch_size: int) -> None:
        self.images, self.batch_size = images, batch_size

    @staticmethod
    def seen(trainer: L.Trainer, batch_size: int) -> int:
        """Images trained on so far."""
        return trainer.fit_loop.epoch_loop.total_batch_idx * batch_size + batch_size

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        if self.seen(trainer, self.batch_size) >= self.images:
            trainer.should_stop = True


if __name__ == "__main__":
    main()
