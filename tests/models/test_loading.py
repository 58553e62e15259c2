"""What a checkpoint says of its network, against what a configuration says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import (
    Golden,
    nvlabs_network,
    nvlabs_pickle,
    tensorflow_network,
    tensorflow_pickle,
)
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import asset_root
from rosetta_lab.models.checkpoints.told import fits, open_arguments
from rosetta_lab.models.generators.biggan_deep import BigGANDeep
from rosetta_lab.models.generators.stylegan2 import StyleGAN2
from rosetta_lab.models.generators.stylegan3 import StyleGAN3
from rosetta_lab.models.generators.stylegan_xl import StyleGANXL
from rosetta_lab.models.load import apply_overrides, load_generator, load_models
from rosetta_lab.run import app  # noqa: F401  what configs resolve
from rosetta_lab.run.command_line import check_keys

ARGUMENTS: dict[str, Any] = {
    "z_dim": 8, "w_dim": 8, "img_resolution": 16, "channel_base": 128, "channel_max": 8,
    "mapping_kwargs": {"num_layers": 1},
}  # fmt: skip


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))


def network(**told: Any) -> StyleGAN2:
    torch.manual_seed(0)
    return StyleGAN2(**ARGUMENTS, **told).eval()


def written(path: Path, **told: Any) -> str:
    """A file of our own, with what it tells beside its weights."""
    metadata = {"config": json.dumps(ARGUMENTS | told), "family": "stylegan2"}
    save_file(network().state_dict(), path, metadata)
    return str(path)


def config(weights: str, kind: type = StyleGAN2, **arguments: Any) -> DictConfig:
    target = f"{kind.__module__}.{kind.__qualname__}"
    own = ARGUMENTS if kind is StyleGAN2 else {}
    return OmegaConf.create(
        {"network": {"_target_": target, **own, **arguments}, "weights": weights}
    )


# agreement and contradiction -------------------------------------------------------------------


def test_what_the_configuration_leaves_open_comes_from_the_checkpoint(tmp_path: Path) -> None:
    generator = load_generator(config(written(tmp_path / "n.safetensors", conv_clamp=0.5)))
    assert generator.synthesis.b16.conv1.conv_clamp == 0.5
    z = 50.0 * torch.randn(2, 8)
    torch.testing.assert_close(generator(z), network(conv_clamp=0.5)(z))


def test_a_contradiction_is_told(tmp_path: Path) -> None:
    source = written(tmp_path / "n.safetensors", conv_clamp=0.5)
    with pytest.raises(RosettaError, match=r"conv_clamp=0.5, the configuration says 256"):
        load_generator(config(source, conv_clamp=256))


def test_options_of_options_are_merged_and_compared(tmp_path: Path) -> None:
    told = {"num_layers": 1, "lr_multiplier": 0.5}
    source = written(tmp_path / "n.safetensors", mapping_kwargs=told)
    generator = load_generator(config(source))
    assert generator.mapping.fc0.bias_gain == 0.5
    other = config(source, mapping_kwargs={"num_layers": 1, "lr_multiplier": 0.01})
    with pytest.raises(RosettaError, match=r"mapping_kwargs\.lr_multiplier=0\.5, .* says 0\.01"):
        load_generator(other)


@pytest.mark.parametrize(
    ("name", "kind"), [("stylegan3_r", StyleGAN3), ("stylegan_xl_stem", StyleGANXL)]
)
def test_alias_free_generators_take_what_is_told(name: str, kind: type, tmp_path: Path) -> None:
    """Their bandwidths and sizes are arguments that the constructor passes on as they are."""
    golden = Golden.read(name)
    told = {k: v for k, v in golden.json("config").items() if k != "embedding"}
    network = nvlabs_network(golden.below("param/"), golden.json("buffers"), _init_kwargs=told)
    path = tmp_path / "network.pkl"
    path.write_bytes(nvlabs_pickle(network))
    generator = load_generator(config(str(path), kind))
    z, c = golden.tensors["in/z"], golden.tensors["in/c"]
    expected = golden.tensors["out/image_psi07"]
    assert (generator(z, c, 0.7) - expected).abs().max() <= 1e-4 * expected.std()
    with pytest.raises(RosettaError, match=r"num_layers=\d, the configuration says 9"):
        load_generator(config(str(path), kind, num_layers=9))


def test_the_file_is_the_one_that_is_meant(tmp_path: Path) -> None:
    source = written(tmp_path / "n.safetensors")
    cfg = config(source)
    cfg.sha256 = load_generator(cfg).sha256
    load_generator(cfg)
    cfg.sha256 = "0" * 64
    with pytest.raises(RosettaError, match=f"expected {cfg.sha256}"):
        load_generator(cfg)


# what is told is never acted upon --------------------------------------------------------------


def touching(marker: Path) -> dict[str, Any]:
    """Values that create ``marker`` where Hydra or OmegaConf gets hold of them."""
    path = {"_target_": "pathlib.Path", "_args_": [str(marker)]}
    call = {"_target_": "pathlib.Path.touch", "_args_": [path]}
    return {
        "target": call,
        "partial": {"_target_": "builtins.dict", "_partial_": True, "value": call},
        "in_a_list": [1, 3, 3, call],
        "interpolation": f"${{touch:{marker}}}",
    }


def told_by_nvlabs(folder: Path, value: Any) -> DictConfig:
    kwargs = ARGUMENTS | {"conv_clamp": value}
    state = network().state_dict()
    (folder / "n.pkl").write_bytes(nvlabs_pickle(nvlabs_network(state, [], _init_kwargs=kwargs)))
    return config(str(folder / "n.pkl"))


def told_by_tensorflow(folder: Path, value: Any) -> DictConfig:
    golden = Golden.read("stylegan2_tf")
    gs = tensorflow_network(golden)
    gs.state["static_kwargs"]["conv_clamp"] = value
    (folder / "gs.pkl").write_bytes(tensorflow_pickle(gs))
    arguments = {k: v for k, v in golden.json("config").items() if k in ARGUMENTS}
    return config(str(folder / "gs.pkl"), **arguments)


def told_by_biggan(folder: Path, value: Any) -> DictConfig:
    golden = Golden.read("biggan_deep")
    torch.save(golden.below("param/"), folder / "pytorch_model.bin")
    told = golden.json("config")
    (folder / "config.json").write_text(json.dumps(told | {"layers": value}))
    return config(str(folder / "pytorch_model.bin"), BigGANDeep, z_dim=told["z_dim"])


def told_by_safetensors(folder: Path, value: Any) -> DictConfig:
    cfg = config(written(folder / "n.safetensors", mapping_kwargs={"num_layers": value}))
    del cfg.network.mapping_kwargs
    return cfg


CHANNELS: dict[str, Callable[[Path, Any], DictConfig]] = {
    "nvlabs": told_by_nvlabs,
    "tensorflow": told_by_tensorflow,
    "biggan": told_by_biggan,
    "safetensors": told_by_safetensors,
}


@pytest.fixture
def touch() -> Iterator[None]:
    """An interpolation that can be seen to be resolved."""
    OmegaConf.register_new_resolver("touch", lambda path: Path(path).touch())
    yield
    OmegaConf.clear_resolver("touch")


@pytest.mark.usefixtures("touch")
@pytest.mark.parametrize("payload", touching(Path("marker")))
@pytest.mark.parametrize("channel", CHANNELS)
def test_nothing_that_is_told_runs(channel: str, payload: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    cfg = CHANNELS[channel](tmp_path, touching(marker)[payload])
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is, see below
        load_generator(cfg)
    assert not marker.exists()
    assert isinstance(caught.value, RosettaError)
    assert re.match(r".*the checkpoint tells .*, expected .*\n.*$", str(caught.value))


@pytest.mark.parametrize("name", ["_target_", "_partial_", "_args_", "_convert_", "${touch:x}"])
def test_names_that_hydra_knows_are_left_out(name: str, tmp_path: Path) -> None:
    source = written(tmp_path / "n.safetensors", **{name: "os.system"})
    assert isinstance(load_generator(config(source)), StyleGAN2)


@pytest.mark.parametrize(
    ("declared", "good", "bad"),
    [
        (int, [0, -1, 10**400], [True, 1.0, "1", None, [1]]),
        (float | None, [None, 1, 0.5], [True, float("nan"), float("inf"), "1", {}]),
        (bool, [True], [1, None, "true"]),
        (tuple[float, ...], [[], [1, 3.0], (1,)], [[[1]], [None], "13", {"1": 1}, 1]),
        (tuple[float, float], [[1, 2]], [[1], [1, 2, 3], ["1", 2]]),
        (dict[str, int | None], [{}, {"a": 1, "b": None}], [{"a": 1.5}, {1: 1}, [["a", 1]]]),
    ],
)
def test_types(declared: Any, good: list[Any], bad: list[Any]) -> None:
    assert all(fits(value, declared) for value in good)
    assert not any(fits(value, declared) for value in bad)


def test_every_argument_of_our_generators_can_be_checked() -> None:
    """A default is a value that its own declaration accepts."""
    for kind in (StyleGAN2, StyleGAN3, StyleGANXL, BigGANDeep):
        told = {"img_resolution": 16, "z_dim": 4, "conv_clamp": None, "num_layers": 3}
        taken = open_arguments(kind, {"z_dim": 4}, told | {"no_such": object()}, "a file")
        assert "z_dim" not in taken and "no_such" not in taken
        assert (kind is BigGANDeep) != ("conv_clamp" in taken)
        with pytest.raises(RosettaError, match=r"a file: refused: .* z_dim='4', expected int"):
            open_arguments(kind, {}, {"z_dim": "4"}, "a file")


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000])
def test_arguments_that_are_no_json(text: str, tmp_path: Path) -> None:
    save_file(network().state_dict(), tmp_path / "n.safetensors", {"config": text})
    with pytest.raises(RosettaError, match=r"n\.safetensors: .* as a JSON object"):
        load_generator(config(str(tmp_path / "n.safetensors")))


# weights of single models ----------------------------------------------------------------------


def composed(*arguments: str) -> DictConfig:
    """What a command sees of its command line."""
    check_keys("mine", list(arguments))
    with initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        return apply_overrides(compose("mine", list(arguments)))


def test_the_advice_that_is_printed_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, a model without its file; then with what the message says to pass."""
    monkeypatch.setenv("ROSETTA_OFFLINE", "1")
    shipped = {
        "gen": "package://zoo/weights/stylegan2_fashion.safetensors",
        "disc.resnet_fashion": "package://zoo/weights/resnet_fashion.safetensors",
    }
    load = {"gen": lambda cfg: load_generator(cfg.gen), "disc": lambda cfg: load_models(cfg.disc)}
    for entry, path in shipped.items():
        arguments = ["disc=[resnet_fashion]", f"{entry}.weights=https://example.org/w.safetensors"]
        with pytest.raises(RosettaError) as caught:
            load[entry.split(".")[0]](composed(*arguments))
        (advice,) = re.findall(r"\S*weights=PATH", str(caught.value))
        assert advice == f"{entry}.weights=PATH"
        load[entry.split(".")[0]](composed(arguments[0], advice.replace("PATH", path)))


def test_weights_of_every_model_at_once(tmp_path: Path) -> None:
    with pytest.raises(RosettaError, match=r"weights=/a\.pkl: .*\n.*gen\.weights=PATH or disc\."):
        composed("disc=[resnet_fashion]", "weights=/a.pkl")
    cfg = composed("disc=[resnet_fashion]", "weights=random")
    assert cfg.gen.weights == cfg.disc.resnet_fashion.weights == "random"


def test_a_config_stays_as_it_was_composed() -> None:
    with initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        cfg = compose("mine", ["weights=random", "layers={resnet_fashion: [layer3.*]}"])
    before = cfg.copy()
    changed = apply_overrides(cfg)
    assert cfg == before != changed
    assert changed.disc.resnet_fashion.layers == ["layer3.*"] != cfg.disc.resnet_fashion.layers
    assert {entry.weights for entry in (changed.gen, *changed.disc.values())} == {"random"}
