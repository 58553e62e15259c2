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
from cases import first
from golden_checks import check_layers, check_outputs, deviation, inputs, layer_outputs
from safetensors import safe_open
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.base import Generator
from rosetta_lab.models.generators.biggan_deep import BigGANDeep
from rosetta_lab.models.generators.stylegan2 import StyleGAN2
from rosetta_lab.models.generators.stylegan3 import StyleGAN3
from rosetta_lab.models.generators.stylegan_xl import StyleGANXL
from rosetta_lab.run.precision import set_matmul_precision

FOLDER = Path(__file__).parents[2] / "golden"
FAMILIES: dict[str, type[Generator]] = {
    "stylegan2": StyleGAN2,
    "stylegan3": StyleGAN3,
    "stylegan_xl": StyleGANXL,
    "stylegan_xl_superres": StyleGANXL,
    "biggan_deep": BigGANDeep,
}
READERS = {"stylegan2_tf", "stylegan2_tf_cond", "stylegan2_rosinality"}  # of file formats only
NAMES = sorted({path.stem for path in FOLDER.glob("*.safetensors")} - READERS)
ALIAS_FREE = ["stylegan3_r", "stylegan3_t", "stylegan_xl_stem", "stylegan_xl_superres"]
CONDITIONAL = ["biggan_deep", "stylegan2_cond", "stylegan3_r", *ALIAS_FREE[2:]]
# Only matter to training, to half precision, or to nothing at all.
IRRELEVANT = {"magnitude_ema_beta", "num_fp16_res", "architecture", "class_embed_dim"}
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


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


@pytest.fixture(params=DEVICES)
def placed(golden: Golden, request: pytest.FixtureRequest) -> Golden:
    """The same with the generator on each kind of device, whose products are not rounded."""
    set_matmul_precision("highest")
    result = copy.copy(golden)
    result.generator = copy.deepcopy(golden.generator).to(request.param)
    return result


def test_all_families_are_covered() -> None:
    found = set()
    for name in NAMES:
        with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
            found.add(file.metadata()["family"])
    assert found == FAMILIES.keys()


def test_buffers(golden: Golden) -> None:
    buffers = {name for name, _ in golden.generator.named_buffers()}
    assert buffers == set(golden.json("buffers"))


@pytest.mark.parametrize(
    "golden", first(1, [n for n in NAMES if n != "biggan_deep"]), indirect=True
)
@torch.no_grad()
def test_designed_filters(golden: Golden) -> None:
    """Filters follow from the configuration alone."""
    fresh = golden.untrained().state_dict()
    filters = [name for name in fresh if name.endswith("_filter")]
    assert filters
    for name in filters:
        expected = golden.tensors[f"param/{name}"]
        torch.testing.assert_close(fresh[name], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("golden", ALIAS_FREE, indirect=True)
def test_geometry(golden: Golden) -> None:
    """Sizes, rates, bandwidths and paddings of every alias-free layer."""
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


def test_latents_and_images(placed: Golden) -> None:
    check_outputs(placed.generator, placed)


def test_every_layer(placed: Golden) -> None:
    check_layers(layer_outputs(placed.generator, placed), placed)


@pytest.mark.parametrize("golden", [*ALIAS_FREE, "biggan_deep"], indirect=True)
def test_layers_of_the_reference_code(golden: Golden) -> None:
    """A simple rule finds the layers that the original Rosetta code recorded, in its order."""
    modules = [name for name, _ in golden.generator.named_modules()]
    rule = r".*conv.*" if isinstance(golden.generator, BigGANDeep) else r"synthesis\.[^.]+"
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


def test_gradient_reaches_the_latents_and_classes(placed: Golden) -> None:
    z, c = inputs(placed.generator, placed)
    z, c = z.clone().requires_grad_(), None if c is None else c.clone().requires_grad_()
    latent = placed.generator.map(z, c)
    latent.retain_grad()
    placed.generator.synthesize(latent).square().mean().backward()
    for leaf in (z, latent):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert (leaf.grad.abs().amax(dim=-1) > 0).all()  # every sample and every slot
    if c is not None:
        assert c.grad is not None
        assert c.grad.isfinite().all()
        assert (c.grad != 0).all()  # also of classes that have no weight yet


def test_gradient_is_that_of_finite_differences(placed: Golden) -> None:
    """Of one sample, along a random direction, against float64 on the CPU."""
    z, c = inputs(placed.generator, placed)
    z, c = z[:1].clone().requires_grad_(), None if c is None else c[:1]
    weights = torch.linspace(-1, 1, placed.generator.resolution)
    direction = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    (placed.generator(z, c) * weights.to(z.device)).mean().backward()
    assert z.grad is not None
    slope = float((z.grad.cpu() * direction).sum())

    precise = copy.deepcopy(placed.generator).cpu().double()
    start, classes = z.detach().cpu().double(), None if c is None else c.cpu().double()
    with torch.no_grad():
        ends = [
            (precise(start + step * direction, classes) * weights).mean() for step in (-1e-6, 1e-6)
        ]
    assert slope == pytest.approx(float(ends[1] - ends[0]) / 2e-6, rel=1e-3)


@torch.no_grad()
def test_whether_the_length_of_z_counts(golden: Golden) -> None:
    latents = [golden.generator.map(scale * golden.z, golden.c) for scale in (1, 3)]
    same = torch.allclose(*latents, rtol=1e-4, atol=1e-5)
    assert same == golden.generator.z_direction_only


@pytest.mark.parametrize("golden", CONDITIONAL, indirect=True)
def test_missing_and_wrong_classes(golden: Golden) -> None:
    classes = golden.generator.num_classes
    for c, found in ((None, "no class weights"), (torch.ones(2, classes + 1), rf"{classes + 1}\)")):
        with pytest.raises(RosettaError, match=f"{found}.* conditional on {classes} classes") as e:
            golden.generator.map(golden.z, c)
        assert f"shape (N, {classes})" in str(e.value).splitlines()[1]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.bfloat16, 0.1), (torch.float16, 0.02)], ids=["bf16", "fp16"]
)
@pytest.mark.parametrize("raised", [0.0, 60.0])
@torch.no_grad()
def test_autocast(placed: Golden, raised: float, dtype: torch.dtype, tolerance: float) -> None:
    """Also with styles so large that sums of their squares are beyond the range of float16."""
    generator = placed.generator
    for name, parameter in generator.named_parameters():
        if name.endswith("affine.bias"):
            parameter += raised
    z, c = inputs(generator, placed)
    expected = generator(z, c)
    with torch.autocast(z.device.type, dtype):
        image = generator(z, c)
    error = (image.float() - expected).square().mean().sqrt()
    assert error <= tolerance * expected.std()


# BigGAN has the most layers by far; a smaller one is traced among its own tests.
@pytest.mark.parametrize(
    "golden", first(3, [n for n in NAMES if n != "biggan_deep"]), indirect=True
)
@torch.no_grad()
def test_traced(golden: Golden) -> None:
    """torch.compile takes the whole generator in one piece, and what it traces is the generator."""
    torch.compiler.reset()
    traced = torch.compile(golden.generator, backend="eager", fullgraph=True)
    image = traced(golden.z, golden.c, psi=0.7)
    assert torch.equal(image, golden.generator(golden.z, golden.c, psi=0.7))


@pytest.mark.slow
def test_compiled(placed: Golden) -> None:
    torch.compiler.reset()
    generator = placed.generator.requires_grad_(False)
    results = []
    for function in (generator, torch.compile(generator, fullgraph=True)):
        z, c = inputs(generator, placed)
        z = z.clone().requires_grad_()
        image = function(z, c, psi=0.7)
        (image * torch.linspace(-1, 1, image.shape[-1], device=z.device)).sum().backward()
        assert z.grad is not None
        results.append((image.detach(), z.grad))
    for compiled, eager in zip(results[1], results[0], strict=True):
        assert deviation(compiled, eager.cpu()) <= 1e-3


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
