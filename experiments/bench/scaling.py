"""What mining costs as the work grows: ``experiments/bench/scaling.py FOLDER``.

Mines the embedded zoo with more images, more models (units) and more processes, each run in
processes of its own, one after the other; writes ``scaling.csv`` and ``scaling.png``. Time is the
processor's, of all processes together, so that other work on the machine hardly counts; memory the
most that one process ever held.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt

MODELS = ["resnet", "dino_resnet", "dino_vit", "mae", "clip"]
IMAGES, PROCESSES = [400, 1600, 3200], [1, 2, 3, 4]
FEW = ["resnet", "dino_vit"]
# What follows from the number of images by default would grow with it: draws, and blocks.
SAME = ["draws=1", "blocks=10", "batch_size=16", "cache=false", "page_images=1"]
QUIET = ["trainer.accelerator=cpu", "trainer.enable_progress_bar=false"]
# Runs and reports what they took: a process of its own, whose children are the run's alone.
# torchrun waits for its processes, so that their time is counted.
MEASURE = """
import json, resource, subprocess, sys
processes, words = sys.argv[1], sys.argv[2:]
how = [] if processes == "1" else ["torch.distributed.run", "--nproc-per-node", processes, "-m"]
code = subprocess.run([sys.executable, "-m", *how, "rosetta_lab.mine", *words]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024]))
"""
AXES = {"images": "images", "units": "units of all models", "processes": "processes"}


def measure(axis: str, folder: Path, images: int, models: list[str], processes: int) -> list[float]:
    """One run: its place on the axis, seconds of CPU and bytes."""
    words = [
        f"disc=[{','.join(f'{name}_fashion' for name in models)}]",
        f"num_images={images}",
        *(["trainer=ddp", f"trainer.devices={processes}"] if processes > 1 else ["trainer=cpu"]),
        *(f"hydra.run.dir={folder}", *SAME, *QUIET),
    ]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(processes), *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    code, seconds, peak = json.loads(done.stdout.splitlines()[-1])
    if code:
        raise SystemExit(done.stderr[-2000:])
    record = json.loads((folder / "dictionary.json").read_text())
    layers = [*record["generator"]["layers"]]
    for model in record["discriminative"].values():
        layers += model["layers"]
    units = sum(layer["channels"] for layer in layers)
    place = {"images": images, "units": units, "processes": processes}[axis]
    print(f"{axis} {place}: {seconds:.1f} s of CPU, {peak / 1e9:.2f} GB", flush=True)
    return [place, seconds, peak]


def draw(found: dict[str, list[list[float]]], path: Path) -> None:
    """Time above, memory below; one column for each thing that grows."""
    figure, axes = plt.subplots(2, 3, figsize=(9, 4.6), sharey="row", layout="constrained")
    for column, (axis, rows) in enumerate(found.items()):
        places, seconds, peaks = zip(*rows, strict=True)
        top, bottom = axes[0, column], axes[1, column]
        top.plot(places, seconds, "o-", color="#2b6cb0")
        bottom.plot(places, [peak / 1e9 for peak in peaks], "o-", color="#b7552b")
        bottom.set_xlabel(AXES[axis])
        for one in (top, bottom):
            one.set_xlim(0, 1.05 * max(places))
            one.grid(alpha=0.3)
    every = [row for rows in found.values() for row in rows]
    for row, most in enumerate((max(x[1] for x in every), max(x[2] for x in every) / 1e9)):
        axes[row, 0].set_ylim(0, 1.1 * most)
    axes[0, 0].set_ylabel("CPU time of all processes [s]")
    axes[1, 0].set_ylabel("peak memory of one [GB]")
    figure.savefig(path, dpi=110)


def main(folder: Path) -> None:
    """Measure all of it."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {
        "images": [measure("images", folder / f"n{n}", n, FEW, 1) for n in IMAGES],
        "units": [
            measure("units", folder / f"m{n}", 400, MODELS[:n], 1)
            for n in range(1, len(MODELS) + 1)
        ],
        "processes": [measure("processes", folder / f"p{n}", 400, FEW, n) for n in PROCESSES],
    }
    with (folder / "scaling.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["grows", "to", "cpu_seconds", "peak_bytes"])
        writer.writerows([axis, *row] for axis, rows in found.items() for row in rows)
    draw(found, folder / "scaling.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
