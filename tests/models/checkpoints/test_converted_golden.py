"""From a file in its public format to images: every format, every layer, every number.

Each golden network is written as the file that its authors would publish, read and converted,
loaded from the converted file, and built as ``gen=`` builds it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import (
    Golden,
    nvlabs_pickle,
    rosinality_checkpoint,
    tensorflow_network,
    tensorflow_pickle,
)
from golden_checks import check_layers, check_outputs, layer_outputs
from nvlabs_networks import STEM, network_of
from omegaconf import OmegaConf
from torch import Tensor

from rosetta_lab.models.base import Generator
from rosetta_lab.models.checkpoints import load_weights
from rosetta_lab.models.load import load_generator

MODULES = "rosetta_lab.models.generators"


def write_nvlabs(golden: Golden, folder: Path) -> Path:
    path = folder / "network.pkl"
    path.write_bytes(nvlabs_pickle(network_of(golden)))
    return path


def write_tensorflow(golden: Golden, folder: Path) -> Path:
    path = folder / "network.pkl"
    path.write_bytes(tensorflow_pickle(tensorflow_network(golden)))
    return path


def write_rosinality(golden: Golden, folder: Path) -> Path:
    path = folder / "550000.pt"
    torch.save(rosinality_checkpoint(golden), path)
    return path


def write_biggan(golden: Golden, folder: Path) -> Path:
    path = folder / "pytorch_model.bin"
    torch.save(golden.below("param/"), path)
    (folder / "config.json").write_text(json.dumps(golden.json("config")))
    return path


def superresolution(golden: Golden) -> dict[str, Any]:
    """What ``conf/gen/stylegan_xl.yaml`` says of its network, since the file does not."""
    config = golden.json("config")
    return {name: config["stem"][name] for name in STEM} | {"superres": config["superres"]}


CASES: dict[str, tuple[str, Callable[[Golden, Path], Path]]] = {
    "stylegan2_uncond": ("stylegan2.StyleGAN2", write_nvlabs),
    "stylegan2_cond": ("stylegan2.StyleGAN2", write_nvlabs),
    "stylegan2_tf": ("stylegan2.StyleGAN2", write_tensorflow),
    "stylegan2_tf_cond": ("stylegan2.StyleGAN2", write_tensorflow),
    "stylegan2_rosinality": ("stylegan2.StyleGAN2", write_rosinality),
    "stylegan3_t": ("stylegan3.StyleGAN3", write_nvlabs),
    "stylegan3_r": ("stylegan3.StyleGAN3", write_nvlabs),
    "stylegan_xl_stem": ("stylegan_xl.StyleGANXL", write_nvlabs),
    "stylegan_xl_superres": ("stylegan_xl.StyleGANXL", write_nvlabs),
    "biggan_deep": ("biggan_deep.BigGANDeep", write_biggan),
}


def convert(name: str, folder: Path) -> Generator:
    """The generator of a golden file, from the converted file that its public format leads to."""
    golden = Golden.read(name)
    target, write = CASES[name]
    converted = load_weights(str(write(golden, folder))).file
    network = {"_target_": f"{MODULES}.{target}"}
    if name == "stylegan_xl_superres":
        network |= superresolution(golden)
    return load_generator(OmegaConf.create({"network": network, "weights": str(converted)}))


def rosinality_output(name: str, generator: Any, outputs: dict[str, Tensor]) -> Tensor:
    """What a module of the rosinality implementation puts out, from the outputs of ours."""
    if name == "input":
        constant: Tensor = generator.synthesis.b4.const
        return constant.expand(2, -1, -1, -1)
    found = re.fullmatch(r"([a-z_]+)\.?(\d+)\.?(.*)", name)
    assert found is not None
    kind, number, part = found[1], int(found[2]), found[3]
    if kind == "style":
        return outputs[f"mapping.fc{number - 1}"]  # style.0 normalises z
    size = {"convs": 8 << number // 2, "to_rgbs": 8 << number}.get(kind, 4)
    block = f"synthesis.b{size}"
    layer = f"{block}.torgb" if "rgb" in kind else f"{block}.conv{number % 2}"
    if part == "conv.modulation":
        return outputs[f"{layer}.affine"]
    if part == "conv":
        return outputs[layer] - generator.get_submodule(layer).bias[:, None, None]
    return outputs[block if kind == "to_rgbs" else layer]  # to_rgbs.k: bias and skip added


def test_every_golden_file_has_a_case() -> None:
    folder = Path(__file__).parents[2] / "golden"
    assert sorted(CASES) == sorted(path.stem for path in folder.glob("*.safetensors"))


@pytest.mark.parametrize("name", CASES)
def test_converted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))
    golden, generator = Golden.read(name), convert(name, tmp_path)
    check_outputs(generator, golden)
    outputs = layer_outputs(generator, golden)
    if name == "stylegan2_rosinality":
        names = golden.json("act_order")
        outputs = {name: rosinality_output(name, generator, outputs) for name in names}
    check_layers(outputs, golden)
