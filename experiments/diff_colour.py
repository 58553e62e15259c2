"""Three networks of which one is blind to colour: ``experiments/diff_colour.py FOLDER [RUN]``.

All learn without labels that two views of a garment are of one: other place and size, the same
colours (contrastive, Chen et al., 2020). ``sees`` and ``sees_again`` differ by nothing but their
seeds. ``blind`` has the seed of ``sees``, and its views' colours are jittered: hue turned by any
angle, saturation scaled by 0 to 1. Each takes 40 seconds of one core.

With the folder of a run of ``rosetta_lab.diff``, it tells instead how many of the units that depend
on colour have partners there, and how many of the others. What a unit has of colour is how much its
mean over an image changes where the image's hue is turned, over its variance over images.
"""

from __future__ import annotations

import csv
import math
import re
import sys
import time
from itertools import permutations
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from timm import create_model
from torch import Tensor, nn

from rosetta_lab.data.fashion.scenes import (
    SCALE_RANGE,
    FashionScenes,
    hsv_to_rgb,
    render,
)
from rosetta_lab.models.recording import record

STEPS, BATCH, SIZE, TEMPERATURE = 150, 64, 40, 0.2
ARMS = {"sees": (0, False), "sees_again": (1, False), "blind": (0, True)}  # seed, jitter
COLOUR = 0.5  # share of colour from which a unit counts as one of colour
KINDS = ("units of colour", "others")
NETWORK = {"channels": [32, 64, 96, 128], "stem_type": "", "stem_width": 32, "num_classes": 0}


def jittered(images: Tensor, source: torch.Generator, saturation: float | None = None) -> Tensor:
    """Turn every image's hue by any angle around grey, and scale its saturation, by 0 to 1."""
    angle = 2.0 * math.pi * torch.rand(len(images), generator=source)
    drawn = torch.rand(len(images), generator=source)
    scale = drawn if saturation is None else torch.full_like(drawn, saturation)
    grey = torch.full((3, 3), 1.0 / 3.0)  # projects onto the grey axis
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3.0)
    turned = torch.cos(angle)[:, None, None] * (torch.eye(3) - grey)
    turned = turned + torch.sin(angle)[:, None, None] * cross  # Rodrigues, around grey
    matrix = grey + scale[:, None, None] * turned  # (N, 3, 3)
    return torch.einsum("nij,njhw->nihw", matrix, images).clamp(0.0, 1.0)


def views(garments: Tensor, jitter: bool, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two views (N, 3, R, R) each of garments (N, 28, 28): other place and size, same colours."""

    def draw() -> Tensor:
        return torch.rand(len(garments), generator=source)

    hue = 360.0 * draw()
    ground = hsv_to_rgb(360.0 * draw(), 0.1 + 0.3 * draw(), 0.45 + 0.5 * draw())
    gradient, found = 0.16 * draw() - 0.08, []
    for _ in range(2):
        scale = SCALE_RANGE[0] + (SCALE_RANGE[1] - SCALE_RANGE[0]) * draw()
        centre = torch.stack([scale / 2 + (1 - scale) * draw() for _ in range(2)], dim=1)
        images = render(garments, hue, centre, scale, ground, gradient, SIZE)
        found.append(jittered(images, source) if jitter else images)
    return found[0], found[1]


def train(seed: int, jitter: bool) -> nn.Module:
    """One network."""
    torch.manual_seed(seed)
    network = create_model("resnet10t", **NETWORK).to(memory_format=torch.channels_last)
    head = nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 64))
    weights = [*network.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=STEPS)
    source = torch.Generator().manual_seed(seed)
    every = FashionScenes("train").garments
    for step in range(STEPS):
        chosen = torch.randint(len(every), (BATCH,), generator=source)
        images = torch.cat(views(every[chosen].float() / 255.0, jitter, source))
        images = ((images - 0.5) / 0.25).contiguous(memory_format=torch.channels_last)
        found = F.normalize(head(network(images)), dim=1)  # (2N, 64)
        likeness = found @ found.t() / TEMPERATURE
        likeness.fill_diagonal_(-torch.inf)
        partner = torch.arange(2 * BATCH).roll(BATCH)
        loss = F.cross_entropy(likeness, partner)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 50 == 49:
            print(f"step {step + 1}: loss {loss.item():.3f}", flush=True)
    return network.eval()


def colour_shares(folder: Path, name: str) -> dict[tuple[str, int], float]:
    """What every unit has of colour: E (a - b)^2 / 2 Var, of an image and of one that is turned."""
    network = create_model("resnet10t", **NETWORK).eval()
    network.load_state_dict(load_file(folder / f"{name}.safetensors"))
    images = FashionScenes("test", size=SIZE).scenes(range(400)).image
    turned = jittered(images, torch.Generator().manual_seed(0), saturation=1.0)
    layers = [n for n, _ in network.named_modules() if re.fullmatch(r"layer\d\.\d", n)]
    means = []
    for batch in (images, turned):
        with torch.no_grad(), record(network, layers) as maps:
            network((batch - 0.5) / 0.25)
        means.append({layer: maps[layer].mean(dim=(2, 3)) for layer in layers})
    found = {}
    for layer in layers:
        one, other = (seen[layer] for seen in means)
        shares = (one - other).square().mean(dim=0) / (2 * one.var(dim=0)).clamp(min=1e-12)
        found |= {(layer, channel): float(share) for channel, share in enumerate(shares)}
    return found


def partners(folder: Path, run: Path) -> None:
    """Print how many units with and without colour have a partner, for every ordered pair."""
    shares = {name: colour_shares(folder, name) for name in ARMS}
    with (run / "units.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for model, other in permutations(ARMS, 2):
        counts = {True: [0, 0], False: [0, 0]}
        for row in rows:
            if (row["model"], row["other"]) == (model, other):
                own = shares[model][row["layer"], int(row["channel"])] >= COLOUR
                counts[own][0] += int(row["partner"])
                counts[own][1] += 1
        told = [f"{a} of {b} {kind}" for kind, (a, b) in zip(KINDS, counts.values(), strict=True)]
        print(f"{model} in {other}: {', '.join(told)}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    if len(sys.argv) > 2:
        partners(folder, Path(sys.argv[2]))
        sys.exit()
    folder.mkdir(parents=True, exist_ok=True)
    for name, (seed, jitter) in ARMS.items():
        started = time.process_time()
        state = {k: v.contiguous() for k, v in train(seed, jitter).state_dict().items()}
        save_file(state, folder / f"{name}.safetensors")
        print(f"{name}: {time.process_time() - started:.0f} s of CPU time", flush=True)
