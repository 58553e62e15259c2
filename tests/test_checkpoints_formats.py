"""Every checkpoint format against golden numbers: same tensors, same images."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import (
    EasyDict,
    Golden,
    Reduced,
    Stranger,
    _create_array,
    _get_attr,
    _import_module,
    _load_type,
    nvlabs_network,
    nvlabs_pickle,
    rosinality_checkpoint,
    tensorflow_network,
    tensorflow_pickle,
)
from safetensors.torch import save_file
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.base import Generator
from rosetta_lab.models.checkpoints import Weights, load_into, load_weights
from rosetta_lab.models.checkpoints.state_dicts import BIGGAN_ARGUMENTS as BIGGAN
from rosetta_lab.models.generators.biggan_deep import BigGANDeep
from rosetta_lab.models.generators.stylegan2 import StyleGAN2
from rosetta_lab.models.generators.stylegan3 import StyleGAN3
from rosetta_lab.models.generators.stylegan_xl import StyleGANXL


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def assert_same_state(weights: Weights, expected: dict[str, Tensor]) -> None:
    assert weights.state_dict.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(weights.state_dict[name], value), name
        assert weights.state_dict[name].shape == value.shape, name


def assert_close(ours: Tensor, golden: Tensor) -> None:
    assert (ours - golden).abs().max() <= 1e-4 * golden.std()


def assert_same_images(kind: type[Generator], weights: Weights, golden: Golden) -> None:
    """The generator that the file itself describes paints the golden images."""
    assert weights.config is not None
    generator = kind(**weights.config).eval()
    load_into(generator, weights)
    z, c = golden.tensors["in/z"], golden.tensors.get("in/c")
    with torch.no_grad():
        for key, psi in {"image_psi1": 1.0, "image_psi07": 0.7}.items():
            assert_close(generator(z, c, psi), golden.tensors[f"out/{key}"])


def twice(source: str) -> list[Weights]:
    """Weights as converted, again from the cache, and from the converted file itself."""
    weights = load_weights(source)
    (converted,) = Path(source).parent.glob("cache/converted/*.safetensors")
    assert weights.sha256 in converted.name
    again = load_weights(source)
    direct = load_weights(str(converted))
    assert direct.config == again.config == weights.config
    assert direct.family == again.family == weights.family
    return [weights, again, direct]


# TensorFlow ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stylegan2_tf", "stylegan2_tf_cond"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_tensorflow(name: str, protocol: int, tmp_path: Path) -> None:
    golden = Golden.read(name)
    data = tensorflow_pickle(tensorflow_network(golden), protocol)
    if protocol < 4:  # globals are lines of text there; write those of NumPy 1
        assert b"cnumpy._core.multiarray\n" in data
        data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    for weights in twice(write(tmp_path / "gs.pkl", data)):
        assert weights.family == "stylegan2"
        assert_same_state(weights, golden.below("param/"))
    if protocol == 4:
        assert_same_images(StyleGAN2, weights, golden)


def test_tensorflow_arguments(tmp_path: Path) -> None:
    golden = Golden.read("stylegan2_tf_cond")
    source = write(tmp_path / "gs.pkl", tensorflow_pickle(tensorflow_network(golden)))
    expected = golden.json("config")
    config = load_weights(source).config
    assert config is not None
    for name in ("z_dim", "c_dim", "w_dim", "img_resolution", "channel_base", "conv_clamp"):
        assert config[name] == expected[name]
    assert config["mapping_kwargs"]["num_layers"] == expected["mapping_kwargs"]["num_layers"]


def edited(golden: Golden, **static: Any) -> Any:
    network = tensorflow_network(golden)
    network.state["static_kwargs"] = network.state["static_kwargs"] | static
    return network


REFUSED: dict[str, Any] = {
    "architecture='resnet'": lambda g: edited(g, architecture="resnet"),
    "synthesis_func='G_synthesis_stylegan_revised'": lambda g: edited(
        g, synthesis_func="G_synthesis_stylegan_revised"
    ),
    "fmap_decay=2": lambda g: edited(g, fmap_decay=2),
    "resample_filter=": lambda g: edited(g, resample_kernel=None),
    "activation='relu'": lambda g: edited(g, mapping_nonlinearity="relu"),
    "resolution_w=64": lambda g: edited(g, resolution_w=64),
}


@pytest.mark.parametrize("message", REFUSED)
def test_tensorflow_variants_are_refused(message: str, tmp_path: Path) -> None:
    network = REFUSED[message](Golden.read("stylegan2_tf"))
    with pytest.raises(RosettaError, match=message):
        load_weights(write(tmp_path / "gs.pkl", tensorflow_pickle(network)))


def test_tensorflow_neutral_arguments_are_accepted(tmp_path: Path) -> None:
    network = edited(Golden.read("stylegan2_tf"), fmap_min=1, resolution_w=32, truncation_psi=0.5)
    assert load_weights(write(tmp_path / "gs.pkl", tensorflow_pickle(network))).config


def test_tensorflow_version_and_variables(tmp_path: Path) -> None:
    golden = Golden.read("stylegan2_tf")
    network = tensorflow_network(golden)
    network.state["version"], network.state["build_func_name"] = 3, "G_style"
    with pytest.raises(RosettaError, match=r"'G_style' of version 3"):
        load_weights(write(tmp_path / "old.pkl", tensorflow_pickle(network)))

    mapping = tensorflow_network(golden)
    mapping.state["components"]["mapping"].state["variables"].append(
        ("LabelConcat/weight", np.ones((2, 2), np.float32))
    )
    with pytest.raises(RosettaError, match="mapping/LabelConcat/weight too many"):
        load_weights(write(tmp_path / "more.pkl", tensorflow_pickle(mapping)))

    synthesis = tensorflow_network(golden)
    variables = synthesis.state["components"]["synthesis"].state["variables"]
    del variables[[name for name, _ in variables].index("8x8/Conv1/mod_bias")]
    with pytest.raises(RosettaError, match="no variable synthesis/8x8/Conv1/mod_bias"):
        load_weights(write(tmp_path / "less.pkl", tensorflow_pickle(synthesis)))

    integers = tensorflow_network(golden)
    integers.state["variables"] = [("dlatent_avg", np.ones(28, np.int64))]
    with pytest.raises(RosettaError, match="dlatent_avg is int64"):
        load_weights(write(tmp_path / "integers.pkl", tensorflow_pickle(integers)))


# rosinality ------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False])
def test_rosinality(zipped: bool, tmp_path: Path) -> None:
    golden = Golden.read("stylegan2_rosinality")
    path = tmp_path / "550000.pt"
    torch.save(rosinality_checkpoint(golden), path, _use_new_zipfile_serialization=zipped)
    for weights in twice(str(path)):
        assert weights.family == "stylegan2"
    assert_same_images(StyleGAN2, weights, golden)


def test_rosinality_reports_strange_tensors(tmp_path: Path) -> None:
    checkpoint = rosinality_checkpoint(Golden.read("stylegan2_rosinality"))
    checkpoint["g_ema"]["convs.0.attention.weight"] = torch.zeros(1)
    torch.save(checkpoint, tmp_path / "fork.pt")
    with pytest.raises(RosettaError, match=r"unknown tensor convs\.0\.attention\.weight"):
        load_weights(str(tmp_path / "fork.pt"))


def test_rosinality_without_its_mean_latent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As its training script saves: the mean of many mapped latents, truncation towards it."""
    golden = Golden.read("stylegan2_rosinality")
    torch.save({"g_ema": rosinality_checkpoint(golden)["g_ema"]}, tmp_path / "550000.pt")
    weights = load_weights(str(tmp_path / "550000.pt"))
    assert "has no latent_avg" in caplog.text
    assert weights.config is not None
    generator = StyleGAN2(**weights.config).eval()
    load_into(generator, weights)
    torch.manual_seed(1)
    with torch.no_grad():
        w = generator.map(torch.randn(10_000, generator.z_dim))[:, 0]
    error = (weights.state_dict["mapping.w_avg"] - w.mean(0)) / w.std(0)
    assert error.abs().max() < 5 * (2 / 10_000) ** 0.5  # of two means of 10,000
    again = load_weights(str(tmp_path / "550000.pt"), cache=tmp_path / "another")
    assert_same_state(again, weights.state_dict)


def test_rosinality_without_noise(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As its early versions saved: only the noise is another."""
    checkpoint = rosinality_checkpoint(Golden.read("stylegan2_rosinality"))
    torch.save(checkpoint, tmp_path / "full.pt")
    full = load_weights(str(tmp_path / "full.pt"))
    noises = [name for name in checkpoint["g_ema"] if name.startswith("noises.")]
    assert len(noises) == 7
    for name in noises:
        del checkpoint["g_ema"][name]
    torch.save(checkpoint, tmp_path / "early.pt")
    weights = load_weights(str(tmp_path / "early.pt"))
    assert "lacks the noise of 7 layers" in caplog.text
    for name, value in full.state_dict.items():
        other = weights.state_dict[name]
        assert other.shape == value.shape
        if name.endswith(".noise_const"):
            assert abs(other.mean()) < 1.0 and abs(other.std() - 1) < 0.5
        else:
            assert torch.equal(other, value), name
    again = load_weights(str(tmp_path / "early.pt"), cache=tmp_path / "another")
    assert_same_state(again, weights.state_dict)


# NVlabs ----------------------------------------------------------------------------------------

CONSTRUCTOR = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")


def live_attributes(golden: Golden) -> dict[str, dict[str, Any]]:
    """What the modules of an alias-free generator have: layers right, some traces of before."""
    layers = golden.json("layer_specs")
    live: dict[str, dict[str, Any]] = {
        "synthesis": {
            "layer_names": [layer["name"] for layer in layers],
            "num_ws": len(layers) + 1,
            "output_scale": golden.json("input_spec")["output_scale"],
            "_init_kwargs": EasyDict(img_resolution=4, num_layers=1, conv_clamp=1, margin_size=1),
            "sampling_rates": np.array([1.0, 2.0]),
        }
    }
    for layer in layers:
        sizes = {key: np.array([layer[key]] * 2) for key in ("in_size", "out_size")}
        rates = {
            key: np.float64(value)
            for key, value in layer.items()
            if key.endswith(("_rate", "_cutoff", "_width"))
        }
        live[f"synthesis.{layer['name']}"] = layer | sizes | rates
    return live


def network_of(golden: Golden, *, ada: bool = False) -> Reduced:
    """The golden generator as an NVlabs object, with the attributes that matter."""
    config = golden.json("config")
    config = {k: v for k, v in config.items() if k != "embedding"}
    live = live_attributes(golden) if "layer_specs" in golden.metadata else {}
    if "stem" in config:
        kwargs: dict[str, Any] = {"path_stem": "/home/somebody/stem.pkl", **config["superres"][-1]}
        kind, top = "SuperresGenerator", dict.fromkeys(CONSTRUCTOR[:3], 1)
    else:
        kwargs, kind, top = dict(config), "Generator", {k: config[k] for k in CONSTRUCTOR}
        if ada:
            kwargs = {k: v for k, v in config.items() if k in (*CONSTRUCTOR, "mapping_kwargs")}
            kwargs["synthesis_kwargs"] = EasyDict(
                {k: v for k, v in config.items() if k not in kwargs}
            )
    return nvlabs_network(
        golden.below("param/"),
        golden.json("buffers"),
        kind,
        live,
        _init_args=(),
        _init_kwargs=EasyDict(kwargs),
        **top,
    )


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


STEM = (
    *("z_dim", "c_dim", "w_dim", "img_resolution", "channel_base", "channel_max"),
    *("num_layers", "margin_size", "conv_kernel", "use_radial_filters"),
)


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


# BigGAN ----------------------------------------------------------------------------------------


def test_biggan(tmp_path: Path) -> None:
    golden = Golden.read("biggan_deep")
    state = golden.below("param/")
    path = tmp_path / "biggan-deep-pytorch_model.bin"
    redundant = {"generator.gen_z.weight": torch.zeros(1)}
    torch.save(state | redundant, path, _use_new_zipfile_serialization=False)
    config = golden.json("config") | {"model_type": "biggan"}
    (tmp_path / "biggan-deep-config.json").write_text(json.dumps(config))
    for weights in twice(str(path)):
        assert weights.family == "biggan_deep"
        assert_same_state(weights, state)
    assert weights.config is not None
    generator = BigGANDeep(**weights.config).eval()
    load_into(generator, weights)
    with torch.no_grad():
        images = generator(golden.tensors["in/z"], golden.tensors["in/c"], 0.4)
    assert_close(images, golden.tensors["out/image_psi04"])


def test_biggan_without_its_config(tmp_path: Path) -> None:
    """Where a configuration describes the network, the weights alone will do."""
    golden = Golden.read("biggan_deep")
    path = tmp_path / "pytorch_model.bin"
    torch.save(golden.below("param/"), path)
    weights = load_weights(str(path))
    assert (weights.family, weights.config) == ("biggan_deep", None)
    generator = BigGANDeep(**{k: v for k, v in golden.json("config").items() if k in BIGGAN})
    load_into(generator, weights)
    (tmp_path / "config.json").write_text('{"z_dim": 20}')
    with pytest.raises(RosettaError, match="lacks output_dim, channel_width"):
        load_weights(str(path))


# plain state dicts -----------------------------------------------------------------------------

PLAIN = {"conv1.weight": torch.arange(4.0), "bn1.num_batches_tracked": torch.tensor(3)}


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in PLAIN.items()}


@pytest.mark.parametrize(
    "checkpoint",
    [
        PLAIN,
        PLAIN | {"epoch": 3},
        {"model": PLAIN, "epoch": 3},
        {"state_dict": prefixed("module.")},
        {"state_dict": prefixed("model.module."), "optimizer": {"state": {}}},
        {"state_dict_ema": PLAIN, "state_dict": {"conv1.weight": torch.zeros(4)}},
        {
            "student": {"module.backbone.conv1.weight": torch.zeros(4)},
            "teacher": prefixed("backbone.") | {"head.mlp.0.weight": torch.zeros(2)},
        },
        {"model": {"state_dict": prefixed("_orig_mod.")}},
    ],
    ids=["flat", "with_epoch", "mae", "ddp", "lightning", "timm_ema", "dino", "compiled"],
)
def test_state_dicts(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    torch.save(checkpoint, tmp_path / "model.pth")
    weights = load_weights(str(tmp_path / "model.pth"))
    assert weights.family is None and weights.config is None
    assert_same_state(weights, PLAIN)


def test_views_and_shared_tensors_are_untangled(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    state = {"a": base, "b": base.t(), "c": base[1], "d": base}
    torch.save(state, tmp_path / "views.pth")
    assert_same_state(load_weights(str(tmp_path / "views.pth")), state)


def test_safetensors_are_read_as_they_are(tmp_path: Path) -> None:
    save_file(PLAIN, tmp_path / "plain.weights")
    weights = load_weights(str(tmp_path / "plain.weights"))
    assert_same_state(weights, PLAIN)
    assert not (tmp_path / "cache" / "converted").exists()


def test_no_state_dict(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "losses": [1.0]}, tmp_path / "log.pth")
    with pytest.raises(RosettaError, match=r"no state dict in a dict \[epoch, losses\]"):
        load_weights(str(tmp_path / "log.pth"))


# into a module ---------------------------------------------------------------------------------


def test_load_into_reports_every_kind_of_difference() -> None:
    module = torch.nn.Linear(3, 2)
    state = {"weight": torch.zeros(2, 4), "scale": torch.ones(1)}
    weights = Weights(state, None, None, "somewhere.pth", "")
    with pytest.raises(RosettaError) as caught:
        load_into(module, weights)
    first, second = str(caught.value).splitlines()
    assert first.startswith("somewhere.pth does not fit Linear")
    assert "1 missing (bias)" in first and "1 unexpected (scale)" in first
    assert "1 of another shape (weight (2, 4) instead of (2, 3))" in first
    assert second.startswith("Choose")


def test_wrong_shapes_and_missing_tensors_of_a_file(tmp_path: Path) -> None:
    golden = Golden.read("stylegan2_uncond")
    params = golden.below("param/")
    del params["synthesis.b8.conv0.weight"]
    params["synthesis.b16.torgb.bias"] = torch.zeros(4)
    network = nvlabs_network(params, golden.json("buffers"), _init_kwargs=golden.json("config"))
    weights = load_weights(write(tmp_path / "odd.pkl", nvlabs_pickle(network)))
    assert weights.config is not None
    with pytest.raises(RosettaError) as caught:
        load_into(StyleGAN2(**weights.config), weights)
    assert "1 missing (synthesis.b8.conv0.weight)" in str(caught.value)
    assert "synthesis.b16.torgb.bias (4,) instead of (3,)" in str(caught.value)


def test_load_into_ignores_on_request_and_lists_few() -> None:
    module = torch.nn.Linear(3, 2)
    state = {"weight": torch.ones(2, 3), **{f"head.{i}": torch.ones(1) for i in range(9)}}
    weights = Weights(state, None, None, "w", "")
    with pytest.raises(RosettaError, match=r"9 unexpected \(head\.0, head\.1, head\.2, \.\.\.\)"):
        load_into(module, weights, ignore=("bias",))
    bias = module.bias.clone()
    load_into(module, weights, ignore=("bias", "head.*"))
    assert torch.equal(module.weight, state["weight"]) and torch.equal(module.bias, bias)
