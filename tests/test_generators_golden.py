"""The generators against numbers recorded from the public reference implementations.

Each file in ``golden/`` holds a tiny network with random weights: its parameters under the
official names, its inputs, images, latents w and the output of every module.
"""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.base import Generator
from rosetta_lab.models.generators.biggan_deep import BigGANDeep
from rosetta_lab.models.generators.stylegan2 import StyleGAN2
from rosetta_lab.models.generators.stylegan3 import AliasFreeGenerator, StyleGAN3
from rosetta_lab.models.generators.stylegan_xl import StyleGANXL

FOLDER = Path(__file__).parent / "golden"
FAMILIES: dict[str, type[Generator]] = {
    "stylegan2": StyleGAN2,
    "stylegan3": StyleGAN3,
    "stylegan_xl": StyleGANXL,
    "stylegan_xl_superres": StyleGANXL,
    "biggan_deep": BigGANDeep,
}
READERS = {"stylegan2_tf", "stylegan2_tf_cond", "stylegan2_rosinality"}  # of file formats only
NAMES = sorted({path.stem for path in FOLDER.glob("*.safetensors")} - READERS)
# Only matter to training, to half precision, or to nothing at all.
IRRELEVANT = {"magnitude_ema_beta", "num_fp16_res", "architecture", "class_embed_dim"}
PSI = {"psi1": 1.0, "psi07": 0.7, "psi07_cutoff": 0.7, "psi04": 0.4, "psi0437": 0.437}


@dataclass
class Golden:
    """One file: the generator with its parameters loaded, and everything recorded."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    generator: Generator = field(init=False)

    def json(self, key: str) -> Any:
        return json.loads(self.metadata[key])

    @property
    def z(self) -> Tensor:
        return self.tensors["in/z"]

    @property
    def c(self) -> Tensor | None:
        return self.tensors.get("in/c")

    def starting_with(self, prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): t for k, t in self.tensors.items() if k.startswith(prefix)}

    def untrained(self) -> Generator:
        """A new generator of the same configuration, with its own random weights."""
        config = constructor_arguments(self.json("config"))
        return FAMILIES[self.metadata["family"]](**config).eval()

    def arguments(self, key: str) -> dict[str, Any]:
        """Truncation arguments behind the recorded output ``key``."""
        arguments: dict[str, Any] = {"psi": PSI[key.split("_", 1)[1]]}
        if key.endswith("_cutoff"):
            arguments["cutoff"] = self.json("run")["truncation_cutoff"]
        return arguments


def constructor_arguments(config: dict[str, Any]) -> dict[str, Any]:
    """A recorded configuration as arguments of our class."""
    config = {key: value for key, value in config.items() if key not in IRRELEVANT}
    if "stem" in config:
        config = constructor_arguments(config["stem"]) | {"superres": config["superres"]}
    if "embedding" in config:
        config["mapping_kwargs"] = {
            "num_layers": config["mapping_kwargs"]["num_layers"],
            **config.pop("embedding"),
        }
    return config


@pytest.fixture(scope="module", params=NAMES)
def golden(request: pytest.FixtureRequest) -> Golden:
    with safe_open(FOLDER / f"{request.param}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    result = Golden(tensors, metadata)
    result.generator = result.untrained()
    result.generator.load_state_dict(result.starting_with("param/"), strict=True)
    return result


def deviation(got: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the standard deviation of what is expected."""
    assert got.shape == expected.shape
    return float((got - expected).abs().max() / expected.std())


def test_all_families_are_covered() -> None:
    assert len(NAMES) == 7


def test_buffers(golden: Golden) -> None:
    buffers = {name for name, _ in golden.generator.named_buffers()}
    assert buffers == set(golden.json("buffers"))


@torch.no_grad()
def test_designed_filters(golden: Golden) -> None:
    """Filters follow from the configuration alone."""
    fresh = golden.untrained().state_dict()
    for name, expected in golden.starting_with("param/").items():
        if name.endswith("_filter"):
            torch.testing.assert_close(fresh[name], expected, rtol=1e-6, atol=1e-9)


def test_geometry(golden: Golden) -> None:
    """Sizes, rates, bandwidths and paddings of every alias-free layer."""
    if not isinstance(golden.generator, AliasFreeGenerator):
        assert "layer_specs" not in golden.metadata
        return
    for spec in golden.json("layer_specs"):
        layer = golden.generator.synthesis.get_submodule(spec["name"]).geometry
        for side, signal in (("in", layer.source), ("out", layer.target)):
            assert signal.channels == spec[f"{side}_channels"]
            assert signal.size == spec[f"{side}_size"]
            assert signal.rate == spec[f"{side}_sampling_rate"]
            assert signal.cutoff == pytest.approx(spec[f"{side}_cutoff"])
            assert signal.half_width == pytest.approx(spec[f"{side}_half_width"])
        assert (layer.up, layer.down) == (spec["up_factor"], spec["down_factor"])
        assert layer.radial == spec["down_radial"]
        assert layer.critical == spec["is_critically_sampled"]
        assert layer.conv_clamp == spec["conv_clamp"]
        if not layer.to_rgb:
            # Their padding goes with zero insertion, our cropping with a transposed convolution.
            low, high = spec["up_taps"] - 1 - layer.crop, spec["up_taps"] - layer.up - layer.crop
            assert [low, high] * 2 == spec["padding"]


@torch.no_grad()
def test_latents(golden: Golden) -> None:
    keys = [key for key in golden.starting_with("out/") if key.startswith("w_")]
    assert len(keys) == (3 if "num_ws" in golden.metadata else 0)
    for key in keys:
        w = golden.generator.map(golden.z, golden.c, **golden.arguments(key))
        assert deviation(w, golden.tensors[f"out/{key}"]) <= 1e-4, key


@torch.no_grad()
def test_images(golden: Golden) -> None:
    keys = [key for key in golden.starting_with("out/") if key.startswith("image_psi")]
    assert len(keys) >= 3
    for key in keys:
        expected = golden.tensors[f"out/{key}"]
        if key.endswith("nonoise"):
            image = golden.generator.synthesis(golden.tensors["out/w_psi1"], "none")
        else:
            image = golden.generator(golden.z, golden.c, **golden.arguments(key))
        assert deviation(image, expected) <= 1e-4, key


@torch.no_grad()
def test_every_layer(golden: Golden) -> None:
    recorded: dict[str, Tensor] = {}
    handles = [
        golden.generator.get_submodule(name).register_forward_hook(
            lambda _, __, output, name=name: recorded.update({name: output})
        )
        for name in golden.json("act_order")
    ]
    golden.generator(golden.z, golden.c)
    for handle in handles:
        handle.remove()
    assert list(recorded) == golden.json("act_order")
    assert len(recorded) == len(golden.starting_with("act/"))
    for name, output in recorded.items():
        assert deviation(output, golden.tensors[f"act/{name}"]) <= 1e-4, name


def test_layers_of_the_reference_code(golden: Golden) -> None:
    """A simple rule finds the layers that the original Rosetta code recorded, in its order."""
    modules = [name for name, _ in golden.generator.named_modules()]
    if isinstance(golden.generator, AliasFreeGenerator):
        rule = r"synthesis\.[^.]+"
    elif isinstance(golden.generator, BigGANDeep):
        rule = r".*conv.*"
    else:
        assert "rosetta_layers" not in golden.metadata
        return
    names = [name for name in golden.json("rosetta_layers") if name != "synthesis"]
    assert names == [name for name in modules if re.fullmatch(rule, name)]


@torch.no_grad()
def test_double_precision(golden: Golden) -> None:
    """float64 stays float64 throughout and lies even closer to the float32 record than 1e-4."""
    c = None if golden.c is None else golden.c.double()
    image = copy.deepcopy(golden.generator).double()(golden.z.double(), c)
    assert image.dtype == torch.float64
    assert deviation(image.float(), golden.tensors["out/image_psi1"]) <= 5e-5


@torch.no_grad()
def test_samples_do_not_influence_each_other(golden: Golden) -> None:
    together = golden.generator(golden.z, golden.c, psi=0.7)
    for i in range(2):
        c = None if golden.c is None else golden.c[i : i + 1]
        alone = golden.generator(golden.z[i : i + 1], c, psi=0.7)
        torch.testing.assert_close(alone, together[i : i + 1], rtol=1e-4, atol=1e-5)


def test_gradient_reaches_the_latents_and_classes(golden: Golden) -> None:
    z = golden.z.clone().requires_grad_()
    c = None if golden.c is None else golden.c.clone().requires_grad_()
    latent = golden.generator.map(z, c)
    latent.retain_grad()
    golden.generator.synthesize(latent).square().mean().backward()
    golden.generator.zero_grad()
    for leaf in (z, latent):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert (leaf.grad.abs().amax(dim=-1) > 0).all()  # every sample and every slot
    if c is not None:
        assert c.grad is not None
        assert c.grad.isfinite().all()
        assert (c.grad != 0).all()  # also of classes that have no weight yet


@torch.no_grad()
def test_whether_the_length_of_z_counts(golden: Golden) -> None:
    latents = [golden.generator.map(scale * golden.z, golden.c) for scale in (1, 3)]
    same = torch.allclose(*latents, rtol=1e-4, atol=1e-5)
    assert same == golden.generator.z_direction_only


def test_missing_and_wrong_classes(golden: Golden) -> None:
    classes = golden.generator.num_classes
    if not classes:
        golden.generator(golden.z, None)
        return
    for c, found in ((None, "no class weights"), (torch.ones(2, classes + 1), rf"{classes + 1}\)")):
        with pytest.raises(RosettaError, match=f"{found}.* conditional on {classes} classes") as e:
            golden.generator.map(golden.z, c)
        assert f"shape (N, {classes})" in str(e.value).splitlines()[1]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.bfloat16, 0.1), (torch.float16, 0.02)], ids=["bf16", "fp16"]
)
@pytest.mark.parametrize("raised", [0.0, 60.0])
@torch.no_grad()
def test_autocast(golden: Golden, raised: float, dtype: torch.dtype, tolerance: float) -> None:
    """Also with styles so large that sums of their squares are beyond the range of float16."""
    generator = copy.deepcopy(golden.generator)
    for name, parameter in generator.named_parameters():
        if name.endswith("affine.bias"):
            parameter += raised
    expected = generator(golden.z, golden.c)
    with torch.autocast("cpu", dtype):
        image = generator(golden.z, golden.c)
    error = (image.float() - expected).square().mean().sqrt()
    assert error <= tolerance * expected.std()


@torch.no_grad()
def test_random_weights_give_varied_images(golden: Golden) -> None:
    """Also without any checkpoint, images differ between latents, classes and positions."""
    torch.manual_seed(0)
    generator = golden.untrained()
    z = torch.randn(4, generator.z_dim)
    images = [generator(z, generator.one_hot(torch.full((4,), label))) for label in (0, 1)]
    assert images[0].isfinite().all()
    assert images[0].abs().max() < 10
    assert images[0].std(dim=0).mean() > 0.01
    assert images[0].std(dim=(2, 3)).mean() > 0.01
    if generator.num_classes:
        assert (images[1] - images[0]).abs().mean() > 0.01
    else:
        assert torch.equal(images[1], images[0])


def test_shapes_without_memory(golden: Golden) -> None:
    """Structure and shapes can be had on the meta device, for networks of any size."""
    with torch.device("meta"):
        generator = golden.untrained()
        z = torch.zeros(2, generator.z_dim)
        c = torch.zeros(2, generator.num_classes) if generator.num_classes else None
        image = generator(z, c)
    assert image.is_meta
    assert image.shape == golden.tensors["out/image_psi1"].shape
