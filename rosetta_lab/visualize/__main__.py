"""Look at a concept or a neuron: ``python -m rosetta_lab.visualize dictionary=RUN concept=3``."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from torch import Tensor

from rosetta_lab.data.latents import caption
from rosetta_lab.dictionary.mined import EMBEDDED, Mined, load_mined
from rosetta_lab.dictionary.pairs import matched_pairs
from rosetta_lab.dictionary.schema import class_names
from rosetta_lab.dictionary.statistics import load_statistics
from rosetta_lab.errors import RosettaError, check_choice, say
from rosetta_lab.files import atomic_write
from rosetta_lab.functional.agreement import Normalization
from rosetta_lab.invert.latent_code import LatentCode
from rosetta_lab.invert.latent_files import metadata
from rosetta_lab.invert.sources import Sources, from_seeds
from rosetta_lab.invert.units import target_units
from rosetta_lab.mine.page.concepts import ATLAS, link_atlas
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.pages.document import PAGE_NAME
from rosetta_lab.run.app import entry_point
from rosetta_lab.run.configs import plain
from rosetta_lab.run.foreign import check_links
from rosetta_lab.run.shared import is_unpacked
from rosetta_lab.run.terminal import opening
from rosetta_lab.run.trainer import make_trainer, one_device
from rosetta_lab.visualize.page.atlas import write_index, write_view
from rosetta_lab.visualize.view import (
    Seen,
    Subject,
    View,
    approach,
    by_class,
    choose,
    firing,
    numbered,
    see,
)


@entry_point("visualize")
def main(cfg: DictConfig) -> Path:
    folder = Path(HydraConfig.get().runtime.output_dir)
    if not 1 <= cfg.shown <= cfg.images:
        raise RosettaError(f"shown={cfg.shown}: expected 1 to images={cfg.images}.")
    if cfg.matches in (None, "none"):
        raise RosettaError(f"matches={cfg.matches}: name a model of the dictionary, or all.")
    check_choice("normalization", cfg.normalization, get_args(Normalization))
    with one_device(make_trainer(cfg, folder, bar=False)) as device:
        mined = load_mined(cfg.dictionary, device, cfg.trust_sources)
        what = f"neuron {cfg.neuron}" if cfg.neuron is not None else f"concept {cfg.concept or 0}"
        what = "all concepts" if cfg.concept == "all" else what
        opening(
            f"Looking at {what} of {mined.dictionary.reference.name}: {cfg.images:,} images, "
            f"{cfg.steps:,} steps",
            device,
            home(cfg, folder, mined),
        )
        page = write_pages(mined.filled_in(cfg), folder, mined)
    say(f"Look at it: {page.resolve()}")
    return page


def home(cfg: DictConfig, folder: Path, mined: Mined) -> Path:
    """Where pages go: those of all concepts beside the dictionary's own, where it is a run's."""
    own = mined.folder.is_dir() and mined.folder != EMBEDDED and not is_unpacked(mined.folder)
    return (mined.folder if own else folder) / ATLAS if cfg.concept == "all" else folder


def write_pages(cfg: DictConfig, folder: Path, mined: Mined) -> Path:
    """Look at what a config asks for, one concept or neuron, or all concepts."""
    subjects = choose(mined.dictionary, cfg.concept, cfg.neuron)
    tour = Tour(cfg, mined)
    if cfg.concept != "all":
        return write_view(folder, tour(subjects[0]), cfg, mined.dictionary)
    atlas = home(cfg, folder, mined)
    check_links(atlas.parent)
    for subject in subjects:
        write_view(atlas, tour(subject), cfg, mined.dictionary, subjects)
    page = write_index(atlas, subjects, mined.dictionary, cfg.shown)
    if (shown := atlas.parent / PAGE_NAME).is_file():
        linked = link_atlas(
            shown.read_text(encoding="utf-8"), [subject.number for subject in subjects]
        )
        atomic_write(shown, linked.encode())
    return page


class Tour:
    """Looks at subjects of one dictionary, on the same generated images.

    Args:
        cfg: the run's configuration.
        mined: the dictionary with its models.
    """

    def __init__(self, cfg: DictConfig, mined: Mined) -> None:
        self.cfg, self.mined = cfg, mined
        generator, dictionary = mined.generator, mined.dictionary
        self.names = class_names(dictionary.config)
        self.models: dict[str, DiscriminativeModel] = mined.models(dictionary.discriminative)
        self.latents = mined.images(cfg.images, cfg.seed, cfg.psi)
        self.labels: Tensor | None = self.latents.batch(range(cfg.images)).label
        self.firing = firing(
            generator,
            dictionary,
            load_statistics(mined.folder, dictionary.reference.name, dictionary.reference.layers),
            self.latents,
            cfg.psi,
            cfg.batch_size,
        )

    def __call__(self, subject: Subject) -> View:
        """Look at one subject."""
        cfg, generator = self.cfg, self.mined.generator
        strength = self.firing[:, list(subject.neurons)].mean(dim=1)  # (images,)
        order = strength.argsort(descending=True, stable=True).tolist()
        most, least = order[: cfg.shown], order[::-1][: cfg.shown]
        prior = self.mined.prior(cfg.psi)
        if cfg.target is None:
            target, name = numbered(self.latents, generator, most[:1]), self._caption(most[0])
        else:
            target = from_seeds(generator, [cfg.target], None, "z", **prior)
            name = target.ids[0]
        seeds = [cfg.seeds] if isinstance(cfg.seeds, int) else plain(cfg.seeds)
        starts = from_seeds(generator, seeds, cfg.label, cfg.space, **prior)
        code = self._code(starts, cfg.space)
        pairs = matched_pairs(
            self.mined.dictionary, plain(cfg.matches), "rosetta", neurons=subject.neurons
        )
        found = approach(
            target_units(cfg, self.mined, pairs, cfg.normalization),
            self._code(target),
            code,
            cfg.loss,
            progress=cfg.trainer.enable_progress_bar,
            **{key: cfg[key] for key in ("steps", "lr", "rampup", "rampdown")},
        )
        return View(
            subject,
            self._look(subject, self._code(target), [name]),
            starts.ids,
            found,
            self._look(subject, code, starts.ids),
            self._generated(subject, most),
            self._generated(subject, least),
            by_class(strength, self.labels),
            metadata(generator, cfg.space),
        )

    def _generated(self, subject: Subject, numbers: list[int]) -> Seen:
        code = self._code(numbered(self.latents, self.mined.generator, numbers))
        return self._look(subject, code, [self._caption(number) for number in numbers])

    def _code(self, sources: Sources, space: str = "z") -> LatentCode:
        return LatentCode(self.mined.generator, space, sources.latent, sources.c, self.cfg.psi)  # type: ignore[arg-type]

    def _look(self, subject: Subject, code: LatentCode, names: list[str]) -> Seen:
        return see(code, names, self.mined.dictionary, self.models, subject.neurons)

    def _caption(self, number: int) -> str:
        return caption(number, None if self.labels is None else self.labels[number], self.names)


if __name__ == "__main__":
    main()
