"""Sizes that a file tells, in its notes or beside it: compared before memory is taken."""

from __future__ import annotations

import json
import resource
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_checks import assert_same_images, private, write
from checkpoint_files import Golden, nvlabs_pickle
from nvlabs_networks import STEM, network_of
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor, nn

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints import Weights, build, load_weights
from rosetta_lab.models.checkpoints import made as within_bounds
from rosetta_lab.models.checkpoints.told import open_arguments
from rosetta_lab.models.generators.biggan_deep import BigGANDeep
from rosetta_lab.models.generators.stylegan2 import StyleGAN2
from rosetta_lab.models.generators.stylegan3 import StyleGAN3
from rosetta_lab.models.generators.stylegan_xl import StyleGANXL
from rosetta_lab.models.load import load_generator

KINDS: dict[str, type[nn.Module]] = {
    "stylegan2_cond": StyleGAN2,
    "stylegan3_t": StyleGAN3,
    "stylegan3_r": StyleGAN3,
    "stylegan_xl_stem": StyleGANXL,
    "biggan_deep": BigGANDeep,
}


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private(tmp_path / "cache", monkeypatch)


def stored(name: str, folder: Path, **told: Any) -> Weights:
    """Golden weights as a converted file that tells other arguments than it should."""
    golden = Golden.read(name)
    if name == "biggan_deep":
        torch.save(golden.below("param/"), folder / "pytorch_model.bin")
        (folder / "config.json").write_text(json.dumps(golden.json("config")))
        weights = load_weights(str(folder / "pytorch_model.bin"))
    else:
        weights = load_weights(write(folder / "n.pkl", nvlabs_pickle(network_of(golden))))
    assert weights.config is not None and weights.family is not None
    options = weights.config.get("mapping_kwargs", {}) | told.pop("mapping_kwargs", {})
    config = weights.config | ({"mapping_kwargs": options} if options else {}) | told
    notes = {"config": json.dumps(config), "family": weights.family}
    save_file(weights.state_dict, folder / "told.safetensors", notes)
    return load_weights(str(folder / "told.safetensors"))


def made(kind: type[nn.Module], weights: Weights, **given: Any) -> nn.Module:
    """As a run makes it."""
    assert weights.config is not None
    told = open_arguments(kind, given, weights.config, weights.source)
    return build(partial(kind, **given, **told), weights)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_networks_that_fit(name: str, tmp_path: Path) -> None:
    weights = stored(name, tmp_path)
    generator = made(KINDS[name], weights)
    assert not any(t.is_meta for t in (*generator.parameters(), *generator.buffers()))
    if name != "biggan_deep":
        assert_same_images(KINDS[name], weights, Golden.read(name))  # type: ignore[arg-type]


def test_a_superresolved_network_fits(tmp_path: Path) -> None:
    golden = Golden.read("stylegan_xl_superres")
    weights = load_weights(write(tmp_path / "n.pkl", nvlabs_pickle(network_of(golden))))
    config = golden.json("config")
    stem = {name: config["stem"][name] for name in STEM}
    made(StyleGANXL, weights, **stem, superres=config["superres"])


TOLD: list[tuple[str, dict[str, Any]]] = [
    ("stylegan2_cond", {"c_dim": 1 << 20}),
    ("stylegan2_cond", {"c_dim": 1 << 40}),
    ("stylegan2_cond", {"c_dim": -1}),
    ("stylegan2_cond", {"z_dim": 1 << 20}),
    ("stylegan2_cond", {"w_dim": 1 << 19}),
    ("stylegan2_cond", {"img_channels": 1 << 20}),
    ("stylegan2_cond", {"img_resolution": 8192}),
    ("stylegan2_cond", {"img_resolution": 1 << 30}),
    ("stylegan2_cond", {"img_resolution": 0}),
    ("stylegan2_cond", {"channel_base": 1 << 20, "channel_max": 1 << 20}),
    ("stylegan2_cond", {"resample_filter": [1.0] * 10_000}),
    ("stylegan2_cond", {"resample_filter": [1.0] * 200}),
    ("stylegan2_cond", {"channels": [1 << 20] * 3}),
    ("stylegan2_cond", {"channels": [1] * 1_000_000}),
    ("stylegan2_cond", {"mapping_kwargs": {"num_layers": 1_000_000_000}}),
    ("stylegan2_cond", {"mapping_kwargs": {"num_layers": 200}}),
    ("stylegan2_cond", {"mapping_kwargs": {"layer_features": 1 << 20}}),
    ("stylegan2_cond", {"mapping_kwargs": {"num_layers": "${oc.env:HOME}"}}),
    ("stylegan2_cond", {"conv_clamp": 1e300}),
    ("stylegan3_t", {"num_layers": 1_000_000_000}),
    ("stylegan3_t", {"num_layers": 200}),
    ("stylegan3_t", {"channel_base": 1 << 20, "channel_max": 1 << 20}),
    ("stylegan3_t", {"margin_size": 1 << 20}),
    ("stylegan3_t", {"conv_kernel": 1 << 16}),
    ("stylegan3_t", {"conv_kernel": 99}),
    ("stylegan3_t", {"img_resolution": 1 << 30}),
    ("stylegan3_t", {"first_stopband": 1e-300}),
    ("stylegan3_t", {"first_stopband": 1e-5, "first_cutoff": 1e-6}),
    ("stylegan3_r", {"first_stopband": 1e-3, "first_cutoff": 1e-4, "recorded": None}),
    ("stylegan3_t", {"first_cutoff": 1e300}),
    ("stylegan3_t", {"recorded": {f"L{i}": {"in_size": 1} for i in range(100_000)}}),
    ("stylegan3_t", {"recorded": {"L\x1b[2J": {"in_size": 1}}}),
    ("stylegan_xl_stem", {"mapping_kwargs": {"num_embeddings": 1 << 20}}),
    ("stylegan_xl_stem", {"mapping_kwargs": {"embedding_dim": 1 << 20}}),
    ("biggan_deep", {"num_classes": 1 << 20}),
    ("biggan_deep", {"channel_width": 1 << 16}),
    ("biggan_deep", {"n_stats": 1 << 20}),
    ("biggan_deep", {"layers": [[True, 2, 2]] * 100_000}),
    ("biggan_deep", {"layers": [[False, 16, 16]] * 199 + [[True, 1, 1]] * 3}),
    ("biggan_deep", {"output_dim": 1 << 40}),
]


@pytest.mark.parametrize(("name", "told"), TOLD, ids=lambda value: str(value)[:60])
def test_sizes_of_other_networks(name: str, told: dict[str, Any], tmp_path: Path) -> None:
    """Nothing of that size is made."""
    weights = stored(name, tmp_path, **told)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    with pytest.raises(RosettaError) as caught:
        made(KINDS[name], weights)
    assert str(caught.value).count("\n") == 1 and "\x1b" not in str(caught.value)
    assert time.process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200 << 10


@pytest.mark.parametrize(
    "told",
    [{"c_dim": 1 << 20}, {"mapping_kwargs": {"num_layers": 10**9}}, {"_target_": "os.abort"}],
)
def test_a_run_makes_no_such_network(told: dict[str, Any], tmp_path: Path) -> None:
    """Nor anything else that a file names."""
    stored("stylegan2_cond", tmp_path, **told)
    entry = {
        "network": {"_target_": "rosetta_lab.models.generators.stylegan2.StyleGAN2"},
        "weights": str(tmp_path / "told.safetensors"),
    }
    if "_target_" in told:  # no argument of the class
        assert isinstance(load_generator(OmegaConf.create(entry)), StyleGAN2)
        return
    with pytest.raises(RosettaError):
        load_generator(OmegaConf.create(entry))


# a constructor that is not ours ----------------------------------------------------------------


class Counted(nn.Module):
    """One whose making needs the contents of a tensor."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = int(torch.ones(width).sum())
        self.layer = nn.Linear(self.width, 1)


class Large(nn.Module):
    """One of 536 million numbers, likewise."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(int(torch.ones(1)) << 15, 1 << 14)


def weights_of(state: dict[str, Tensor]) -> Weights:
    return Weights(state, None, None, "somewhere.pth", "")


def test_a_network_that_cannot_be_made_on_meta() -> None:
    state = nn.Linear(4, 1).state_dict()
    weights = weights_of({f"layer.{name}": value for name, value in state.items()})
    assert torch.equal(build(partial(Counted, 4), weights).layer.weight, state["weight"])
    with pytest.raises(RosettaError, match=r"layer\.weight \(1, 4\) instead of \(1, 5\)"):
        build(partial(Counted, 5), weights)
    with pytest.raises(RosettaError, match="far larger than its 2 tensors of 5 numbers"):
        build(partial(Counted, 1 << 23), weights)
    with pytest.raises(RosettaError, match="random weights has more than 268,435,456 numbers"):
        within_bounds(Large)


def test_random_numbers_are_drawn_as_before() -> None:
    """What is random beside the weights does not depend on how often a network is made."""

    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.noise = torch.randn(3)

    state = Noisy().state_dict()
    torch.manual_seed(0)
    expected = Noisy().noise
    torch.manual_seed(0)
    assert torch.equal(build(Noisy, weights_of(state)).noise, expected)


def test_the_counting_ends_with_the_making() -> None:
    state = nn.Linear(2, 2).state_dict()
    with pytest.raises(RosettaError, match="far larger than its 2 tensors of 6 numbers"):
        build(lambda: nn.Linear(1 << 13, 1 << 13), weights_of(state))
    nn.Linear(1 << 12, 1 << 12)
    with pytest.raises(ZeroDivisionError):
        build(lambda: nn.Linear(1 // 0, 1), weights_of(state))


def test_mistakes_in_ones_own_configuration_stay_what_they_are() -> None:
    with pytest.raises(TypeError):
        build(partial(nn.Linear, 1, 2, 3, 4, 5, 6, 7), weights_of({}))
