"""Checkpoints of the NVlabs tools and StyleGAN-XL: their tensors, and what their objects tell."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_checks import (
    assert_close,
    assert_same_images,
    assert_same_state,
    private,
    twice,
    write,
)
from checkpoint_files import (
    Golden,
    Reduced,
    Stranger,
    _create_array,
    _get_attr,
    _import_module,
    _load_type,
    nvlabs_network,
    nvlabs_pickle,
)
from nvlabs_networks import STEM, network_of

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.base import Generator
from rosetta_lab.models.checkpoints import Weights, load_into, load_weights
from rosetta_lab.models.generators.stylegan2 import StyleGAN2
from rosetta_lab.models.generators.stylegan3 import StyleGAN3
from rosetta_lab.models.generators.stylegan_xl import StyleGANXL


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private(tmp_path / "cache", monkeypatch)


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize(
    ("name", "family", "kind"),
    [
        ("stylegan2_uncond", "stylegan2", StyleGAN2),
        ("stylegan2_cond", "stylegan2", StyleGAN2),
        ("stylegan3_t", "stylegan3", StyleGAN3),
        ("stylegan3_r", "stylegan3", StyleGAN3),
        ("stylegan_xl_stem", "stylegan_xl", StyleGANXL),
    ],
)
def test_nvlabs(
    name: str, family: str, kind: type[Generator], protocol: int, tmp_path: Path
) -> None:
    golden = Golden.read(name)
    source = write(tmp_path / "network.pkl", nvlabs_pickle(network_of(golden), protocol))
    for weights in twice(source):
        assert weights.family == family
        assert_same_state(weights, golden.below("param/"))
    if protocol == 4:
        assert_same_images(kind, weights, golden)


def test_nvlabs_of_the_ada_era(tmp_path: Path) -> None:
    golden = Golden.read("stylegan2_cond")
    source = write(tmp_path / "ada.pkl", nvlabs_pickle(network_of(golden, ada=True), 3))
    weights = load_weights(source)
    assert weights.config is not None and weights.config["conv_clamp"] == 3.5
    assert_same_images(StyleGAN2, weights, golden)


def superresolved(golden: Golden, weights: Weights) -> StyleGANXL:
    """The network that a configuration with the stem's arguments and the file make together."""
    config = golden.json("config")
    stem = {name: config["stem"][name] for name in STEM}
    assert weights.config is not None
    generator = StyleGANXL(**stem, superres=config["superres"], **weights.config).eval()
    load_into(generator, weights)
    return generator


def test_superresolution(tmp_path: Path) -> None:
    """Its own arguments and those recorded in its parts are of some stage; the layers are right."""
    golden = Golden.read("stylegan_xl_superres")
    source = write(tmp_path / "xl.pkl", nvlabs_pickle(network_of(golden)))
    for weights in twice(source):
        assert weights.family == "stylegan_xl"
        assert_same_state(weights, golden.below("param/"))
    generator = superresolved(golden, weights)
    with torch.no_grad():
        images = generator(golden.tensors["in/z"], golden.tensors["in/c"], 0.7)
    assert_close(images, golden.tensors["out/image_psi07"])


def test_clamps_and_scale_are_those_of_the_live_network(tmp_path: Path) -> None:
    """A stem keeps its clamp when stages are added, which have another."""
    golden = Golden.read("stylegan_xl_superres")
    golden.metadata["input_spec"] = json.dumps(golden.json("input_spec") | {"output_scale": 0.5})
    specs = golden.json("layer_specs")
    for spec in specs[:4]:
        spec["conv_clamp"] = 0.5
    golden.metadata["layer_specs"] = json.dumps(specs)
    weights = load_weights(write(tmp_path / "xl.pkl", nvlabs_pickle(network_of(golden))))
    generator = superresolved(golden, weights)
    layers = [generator.synthesis.get_submodule(spec["name"]) for spec in specs]
    assert [layer.geometry.conv_clamp for layer in layers] == [0.5] * 4 + [256] * (len(specs) - 4)
    latent = generator.map(golden.tensors["in/z"], golden.tensors["in/c"])
    with torch.no_grad():
        images = generator.synthesize(latent)
        generator.synthesis.output_scale = 1.0
        assert_close(images, 0.5 * generator.synthesize(latent))


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("stylegan_xl_superres", "in_sampling_rate", 8.0),
        ("stylegan_xl_superres", "out_cutoff", 3.0),
        ("stylegan3_r", "up_factor", 4),
        ("stylegan3_t", "in_size", 31),
        ("stylegan_xl_stem", "name", "L4_36_13"),
    ],
)
def test_other_layers_than_the_configuration_makes(
    name: str, key: str, value: Any, tmp_path: Path
) -> None:
    golden = Golden.read(name)
    specs = golden.json("layer_specs")
    expected = f"{specs[3]['name']} has {key}={value}, the configuration's has "
    if key == "name":
        expected = f"has {value} where the configuration's has {specs[3]['name']}"
        params = golden.below("param/")
        for parameter in [p for p in params if f".{specs[3]['name']}." in p]:
            renamed = parameter.replace(specs[3]["name"], value)
            golden.tensors[f"param/{renamed}"] = golden.tensors.pop(f"param/{parameter}")
    specs[3][key] = value
    golden.metadata["layer_specs"] = json.dumps(specs)
    weights = load_weights(write(tmp_path / "n.pkl", nvlabs_pickle(network_of(golden))))
    told = weights.config or {}
    kind = StyleGAN3 if name.startswith("stylegan3") else StyleGANXL
    make = partial(superresolved, golden, weights) if "superres" in name else partial(kind, **told)
    with pytest.raises(RosettaError, match=re.escape(expected)):
        make()


def test_odd_arguments_that_nobody_needs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    golden = Golden.read("stylegan2_uncond")
    odd = {"path_stem": Path("/home/somebody/stem.pkl"), "act_fn": Stranger(), "num_fp16_res": []}
    network = nvlabs_network(
        golden.below("param/"), golden.json("buffers"), _init_kwargs=golden.json("config") | odd
    )
    weights = load_weights(write(tmp_path / "n.pkl", nvlabs_pickle(network)))
    assert_same_images(StyleGAN2, weights, golden)
    assert "constructor argument act_fn is not known" in caplog.text


def test_stylegan2_with_two_clamps(tmp_path: Path) -> None:
    golden = Golden.read("stylegan2_cond")
    live = {f"synthesis.b{size}.conv1": {"conv_clamp": size} for size in (4, 8)}
    network = nvlabs_network(
        golden.below("param/"),
        golden.json("buffers"),
        attributes=live,
        _init_kwargs=golden.json("config"),
    )
    with pytest.raises(RosettaError, match=r"conv_clamp=\[\d, \d\]; only one limit"):
        load_weights(write(tmp_path / "n.pkl", nvlabs_pickle(network)))


def test_arguments_that_are_not_stored_are_the_official_defaults(tmp_path: Path) -> None:
    golden = Golden.read("stylegan2_uncond")
    network = nvlabs_network(
        golden.below("param/"), golden.json("buffers"), _init_kwargs={"z_dim": 32}
    )
    weights = load_weights(write(tmp_path / "bare.pkl", nvlabs_pickle(network)))
    assert weights.config is not None and weights.config["conv_clamp"] == 256


def test_dill_arrays_and_types(tmp_path: Path) -> None:
    """StyleGAN-XL files are written by dill, which has ways of its own to spell sets and arrays."""
    golden = Golden.read("stylegan2_uncond")
    size = np.array([32, 32])
    make, args, state = size.__reduce__()[:3]
    extra = {
        "size": Reduced(_create_array, make, args, state, None),
        "kinds": [Reduced(_load_type, "set"), Reduced(_load_type, "dict")],
    }
    network = nvlabs_network(golden.below("param/"), golden.json("buffers"), **extra)
    weights = load_weights(write(tmp_path / "dill.pkl", nvlabs_pickle(network)))
    assert_same_state(weights, golden.below("param/"))


@pytest.mark.parametrize("core", ["core", "_core"])
def test_dill_before_0_3_5(core: str, tmp_path: Path) -> None:
    """It spelled NumPy's functions by the module that they are written in."""

    def function(name: str) -> Reduced:
        module = Reduced(_import_module, f"numpy.{core}._multiarray_umath")
        return Reduced(_get_attr, module, name)

    golden = Golden.read("stylegan2_cond")
    size = np.array([32, 32])
    _, args, state = size.__reduce__()[:3]
    _, scalar = np.float64(3.5).__reduce__()
    live = {
        f"synthesis.b{resolution}.{layer}": {
            "conv_clamp": Reduced(function("scalar"), *scalar),
            "size": Reduced(_create_array, function("_reconstruct"), args, state, None),
        }
        for resolution, layer in ((4, "conv1"), (8, "conv0"), (16, "torgb"))
    }
    network = nvlabs_network(
        golden.below("param/"), golden.json("buffers"), attributes=live, _init_kwargs={"c_dim": 10}
    )
    weights = load_weights(write(tmp_path / "dill.pkl", nvlabs_pickle(network)))
    assert_same_state(weights, golden.below("param/"))
    assert weights.config is not None and weights.config["conv_clamp"] == 3.5


def test_a_network_of_another_kind(tmp_path: Path) -> None:
    network = nvlabs_network({"layer.weight": torch.ones(2)}, [], "Classifier")
    with pytest.raises(RosettaError, match=r"\(Classifier\) is none that is known"):
        load_weights(write(tmp_path / "c.pkl", nvlabs_pickle(network)))
