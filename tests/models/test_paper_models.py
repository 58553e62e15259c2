"""The paper's generator and models, as configured, from the command line to the dictionary."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import call
from safetensors import safe_open

MODELS = ("resnet50", "dino_vit", "mae", "clip")
LAYERS = {
    "stylegan_xl": "[synthesis.L0_*, synthesis.L13_*, synthesis.L30_*]",
    "resnet50": "[layer4]",
    "dino_vit": "[blocks.11.mlp.act]",
    "mae": "[blocks.11.mlp.act]",
    "clip": "[visual.layer4]",
}


@pytest.mark.slow
def test_narrow_stylegan_xl_with_the_papers_models(tmp_path: Path) -> None:
    """Random weights, fewer channels and layers; every class, size and stage is the real one."""
    layers = ", ".join(f"{name}: {globs}" for name, globs in LAYERS.items())
    done = call(
        "mine",
        *("gen=stylegan_xl", "+gen.network.channel_base=8192", "+gen.network.channel_max=128"),
        *(f"disc=[{','.join(MODELS)}]", "weights=random", "pretrained=false"),
        *("num_images=2", "batch_size=1", "page_images=1", f"layers={{{layers}}}"),
        *("hydra.run.dir=run", "trainer.enable_progress_bar=false"),
        cwd=tmp_path,
        ROSETTA_OFFLINE="1",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"RANDOM WEIGHTS (stylegan_xl, {', '.join(MODELS)})" in done.stdout
    run = tmp_path / "run"
    assert (run / "index.html").is_file()
    dictionary = json.loads((run / "dictionary.json").read_text())
    assert list(dictionary["discriminative"]) == list(MODELS)
    generator = {x["name"]: x for x in dictionary["generator"]["layers"]}
    assert len(generator) == 3
    with safe_open(run / "statistics.safetensors", "pt") as stream:
        for name, layer in generator.items():
            count = stream.get_tensor(f"stylegan_xl/{name}/count")
            assert set(count.tolist()) == {2 * layer["height"] * layer["width"]}
    matches = [n["matches"] for n in dictionary["neurons"]]
    assert all(set(m) == set(MODELS) for m in matches)
