"""Mining runs beside each other: what a sweep, such as ``--multirun k=1,3,5``, came to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from omegaconf import DictConfig

from rosetta_lab.dictionary.schema import FILE_NAME, RosettaDictionary
from rosetta_lab.errors import RosettaError, say
from rosetta_lab.files import write_csv
from rosetta_lab.mine.page.sweep import write_sweep
from rosetta_lab.run.foreign import read_yaml
from rosetta_lab.run.sweep import AtSweepEnd
from rosetta_lab.run.terminal import table

TABLE_NAME = "sweep.csv"
HEADS = [
    "Rosetta neurons", "concepts", "by the paper's rule", "among shuffled images",
    "of these accepted", "halves agree", "median score",
]  # fmt: skip


@dataclass
class SweptRun:
    """A mining run of a sweep.

    Attributes:
        folder: of the run.
        dictionary: that it found.
        chosen: what its command line chose and others did not: key to value.
    """

    folder: Path
    dictionary: RosettaDictionary
    chosen: dict[str, str]

    @property
    def name(self) -> str:
        """What tells it from the others."""
        return " ".join(f"{key}={value}" for key, value in self.chosen.items())

    def figures(self) -> list[float | None]:
        """A figure for every head, None where the run has none."""
        found = self.dictionary
        null = found.summary.get("null")
        stable = found.summary.get("stability")
        scores = [neuron.score for neuron in found.neurons]
        return [
            float(len(found.neurons)),
            float(len(found.concepts)),
            float(null["candidates"]) if null else None,
            float(null["shuffled_rosetta_neurons"]) if null else None,
            float(null["shuffled_rosetta_neurons_accepted"]) if null else None,
            float(stable["neurons"]) if stable else None,
            median(scores) if scores else None,
        ]


class CollectSweep(AtSweepEnd):
    """A table and a page of all runs in a sweep's folder."""

    def collect(self, folder: Path, config: DictConfig) -> None:
        """Write and print them."""
        runs = read_runs(folder)
        rows = [[run.name, *run.figures()] for run in runs]
        write_csv(folder / TABLE_NAME, [["run", *HEADS], *rows])
        lines = [[run.name, *cells(run)] for run in runs]
        page = write_sweep(folder, runs, [["", *HEADS], *lines], TABLE_NAME)
        say(table([["", *HEADS], *lines]))
        say(f"Look at it: {page.resolve()}")


def cells(run: SweptRun) -> list[str]:
    """Figures as text."""
    return [
        "-" if value is None
        else f"{value:.0%}" if head == "halves agree"
        else f"{value:.2f}" if head == "median score"
        else f"{value:,.4g}"
        for head, value in zip(HEADS, run.figures(), strict=True)
    ]  # fmt: skip


def read_runs(folder: Path) -> list[SweptRun]:
    """The runs of a sweep that have a dictionary, in the order of their numbers.

    Raises:
        RosettaError: fewer than two have.
    """
    found = []
    for path in sorted(folder.glob(f"*/{FILE_NAME}"), key=lambda path: _order(path.parent.name)):
        words = read_yaml(path.parent / ".hydra" / "overrides.yaml")
        pairs = (str(word).partition("=") for word in words if isinstance(words, list))
        chosen = {key: value for key, _, value in pairs if not key.startswith("hydra")}
        found.append(SweptRun(path.parent, RosettaDictionary.load(path), chosen))
    if len(found) < 2:
        raise RosettaError(f"{folder}: {len(found)} runs with a dictionary, expected two or more.")
    keys = dict.fromkeys(key for run in found for key in run.chosen)
    differing = [key for key in keys if len({run.chosen.get(key) for run in found}) > 1]
    for run in found:
        own = {key: run.chosen.get(key, "default") for key in differing}
        run.chosen = own or {"run": run.folder.name}
    return found


def _order(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdecimal() else (1 << 40, name)
