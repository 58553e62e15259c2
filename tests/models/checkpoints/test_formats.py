"""Every checkpoint format against golden numbers: same tensors, same images."""

from __future__ import annotations

import json
import shutil
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
    nvlabs_network,
    nvlabs_pickle,
    rosinality_checkpoint,
    tensorflow_network,
    tensorflow_pickle,
)
from safetensors.torch import save_file
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints import Weights, load_into, load_weights
from rosetta_lab.models.checkpoints.state_dicts import BIGGAN_ARGUMENTS as BIGGAN
from rosetta_lab.models.generators.biggan_deep import BigGANDeep
from rosetta_lab.models.generators.stylegan2 import StyleGAN2


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private(tmp_path / "cache", monkeypatch)


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
    shutil.rmtree(tmp_path / "cache")
    assert_same_state(load_weights(str(tmp_path / "550000.pt")), weights.state_dict)


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
    shutil.rmtree(tmp_path / "cache")
    assert_same_state(load_weights(str(tmp_path / "early.pt")), weights.state_dict)


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


def test_load_into_lists_few() -> None:
    module = torch.nn.Linear(3, 2)
    state = {"weight": torch.ones(2, 3), **{f"head.{i}": torch.ones(1) for i in range(9)}}
    weights = Weights(state, None, None, "w", "")
    with pytest.raises(
        RosettaError,
        match=r"1 missing \(bias\); 9 unexpected \(head\.0, head\.1, head\.2, \.\.\.\)",
    ):
        load_into(module, weights)
