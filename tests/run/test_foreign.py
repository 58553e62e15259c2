"""Dictionaries of strangers: what is written in them is data."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import call
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from strangers import NETWORK, Change, change, folder, model, nothing_ran, refusal  # noqa: F401

from rosetta_lab.dictionary.mined import load_mined
from rosetta_lab.edit.recipe import EDITS
from rosetta_lab.errors import RosettaError
from rosetta_lab.models.discriminative.timm import TimmModel
from rosetta_lab.models.load import load_models
from rosetta_lab.models.registry import DISCRIMINATIVE, GENERATORS, PERCEPTUAL, check_sources
from rosetta_lab.run import foreign
from rosetta_lab.run.command_line import zoo_of

# The fixtures are imported by name.
# ruff: noqa: F811

OWN = "package://zoo/weights/resnet_fashion.safetensors"
TIMM = "rosetta_lab.models.discriminative.timm.TimmModel"
CLIP = "rosetta_lab.models.discriminative.open_clip.OpenClipModel"
VGG = "rosetta_lab.models.discriminative.vgg.SmallVGGModel"


def clip(**options: Any) -> Change:
    entry = {
        "_target_": CLIP,
        "architecture": "RN50",
        "weights": "random",
        "layers": ["visual.layer1"],
    }
    return lambda record: record["config"]["disc"].update({NETWORK: entry | options})


def vgg(**options: Any) -> Change:
    entry = {"_target_": VGG, "num_classes": 10, "weights": OWN, "layers": ["*"]}
    entry["preprocess"] = {"size": 64}
    return lambda record: record["config"]["disc"].update({NETWORK: entry | options})


def network(**options: Any) -> Change:
    return lambda record: record["config"]["gen"]["network"].update(options)


def generator(**options: Any) -> Change:
    return lambda record: record["config"]["gen"].update(options)


HOSTILE: dict[str, Change] = {
    "a module in the folder": network(_target_="evil.Evil"),
    "a module in the folder as a model": model(_target_="evil.Evil"),
    "a module that prints": network(_target_="this.x"),
    "the running module": network(_target_="__main__.main"),
    "a function": network(_target_="os.system", command="touch ../marker"),
    "no class": network(_target_=None),
    "a class of another kind": model(_target_="rosetta_lab.edit.edits.Shift"),
    "a class that a module imported": model(_target_="rosetta_lab.models.load.DiscriminativeModel"),
    "another thing when it is used": model(_target_="${oc.select:weights,os.system}"),
    "a class by a variable": model(_target_="${oc.env:KIND}"),
    "by its weights": model(_target_=f"${{oc.dict.values:{TIMM}}}", weights="random"),
    "a partial object": network(_partial_=True),
    "arguments by place": network(_args_=[1]),
    "a conversion": model(_convert_="all"),
    "a nested target": model(model_kwargs={"act_layer": {"_target_": "evil.Evil"}}),
    "a nested partial": model(preprocess={"_target_": "evil.Evil", "_partial_": True}),
    "an interpolation": model(architecture="${oc.env:SECRET}"),
    "an interpolation in a key": model(model_kwargs={"${oc.env:SECRET}": 1}),
    "a secret in an address": generator(weights="http://localhost:1/${oc.env:SECRET}"),
    "timm's own reader": model(model_kwargs={"checkpoint_path": "evil.pth"}),
    "timm's own weights": model(model_kwargs={"pretrained": True}),
    "timm's own entry": model(model_kwargs={"pretrained_cfg": {"file": "evil.pth"}}),
    "timm's overlay": model(model_kwargs={"pretrained_cfg_overlay": {"file": "evil.pth"}}),
    "timm's hub": model(architecture="hf-hub:evil/evil"),
    "timm's folder": model(architecture="local-dir:evil"),
    "a boolean for a number": model(model_kwargs={"num_classes": True}),
    "a text for a number": model(model_kwargs={"num_classes": "10"}),
    "a huge image": model(preprocess={"size": 10**9}),
    "an image of many pixels": model(preprocess={"size": 2048}),
    "a huge network": network(img_resolution=2**40),
    "a huge network without weights": model(
        architecture="vit_huge_patch14_clip_224", weights="random", model_kwargs=None
    ),
    "a huge generator without weights": generator(
        weights="random",
        network={
            "_target_": "dcgan",
            "z_dim": 8,
            "channels": [2],
            "kernel_sizes": [20_000, 4],
        },
    ),
    "an unknown option": network(hook="evil"),
    "open_clip unpickles": clip(model_kwargs={"weights_only": False, "pretrained": "evil.pth"}),
    "open_clip reads a path": clip(model_kwargs={"pretrained_image_path": "evil.pth"}),
    "open_clip's pretrained": clip(model_kwargs={"pretrained": "evil.pth"}),
    "open_clip's text tower": clip(model_kwargs={"text_cfg": {"hf_model_name": "evil/evil"}}),
    "open_clip's image tower": clip(model_kwargs={"vision_cfg": {"timm_model_name": "x"}}),
    "open_clip's own text tower": clip(architecture="roberta-ViT-B-32"),
    "open_clip's hub": clip(architecture="hf-hub:evil/evil"),
    "a download": generator(weights="http://localhost:1/evil.pkl"),
    "a download of a model": model(weights="https://localhost:1/evil.pth"),
    "a hub": model(architecture="vit_tiny_patch16_224", weights="pretrained"),
    "open_clip's hub by a tag": clip(weights="openai", architecture="ViT-B-16"),
    "no entry": model(_target_=TIMM, architecture=[1]),
    "models in a list": lambda record: record["config"].update(disc=[1]),
    "a missing value": generator(name="???"),
    "classes that are none": generator(class_names={"a": 1}),
    "a wrong seed": lambda record: record["config"].update(seed="${oc.env:SECRET}"),
    "psi is huge": lambda record: record["config"].update(psi=1e300),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_dictionary_is_data(name: str, folder: Path) -> None:
    change(folder / "mined/dictionary.json", HOSTILE[name])
    with pytest.raises(RosettaError) as error:
        load_mined("mined").models([NETWORK])
    # For what it is, not since the library fails, a file is not there or weights do not fit.
    assert re.search(r"; refused|is refused|random weights has more than", refusal(error))


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("invert", ["dictionary=mined", "data.path=photos", "steps=1"]),
        ("edit", ["dictionary=mined", "steps=1", "controls=false"]),
        ("visualize", ["dictionary=mined", "images=6", "steps=1"]),
        ("invert", ["resume=inverted_all"]),
        ("edit", ["recipe=edited/recipe.yaml"]),
    ],
)
def test_commands_refuse_hostile_dictionaries(
    command: str, arguments: list[str], folder: Path
) -> None:
    change(folder / "mined/dictionary.json", HOSTILE["a module in the folder"])
    shutil.rmtree(folder / "inverted_all/results")
    done = call(command, *arguments, cwd=folder)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "refused" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (HOSTILE["a huge network without weights"], "random weights has more than 268,435,456"),
        (HOSTILE["a huge generator without weights"], "random weights has more than 268,435,456"),
        (
            model(architecture="vit_base_patch16_224", model_kwargs=None),
            "network is far larger than its 80 tensors",
        ),
        (clip(architecture="ViT-B-32", weights=OWN), "network is far larger than its 80 tensors"),
        (vgg(channels=[4096] * 4), "network is far larger than its 80 tensors"),
        (lambda r: r["config"].update(classes=[1] * 10**5), "at most 32768"),
        (model(layers=["layer1.*"] * 10**5), "its values are too many"),
    ],
)
def test_sizes_that_a_dictionary_tells(how: Change, message: str, folder: Path) -> None:
    """Compared before memory is taken, with the weights where there are some."""
    change(folder / "mined/dictionary.json", how)
    with pytest.raises(RosettaError, match=message) as error:
        load_mined("mined").models([NETWORK])
    refusal(error)


def test_random_weights_of_others_are_those_of_their_seed() -> None:
    entry = {"_target_": TIMM, "architecture": "resnet10t", "weights": "random", "layers": ["*"]}
    torch.manual_seed(3)
    expected = TimmModel("resnet10t", "random", ["*"]).state_dict()
    made = load_models({"a": OmegaConf.create(entry)}, 3, DISCRIMINATIVE)["a"].state_dict()
    assert all(torch.equal(values, made[name]) for name, values in expected.items())


def test_overlap_makes_no_models(folder: Path) -> None:
    change(folder / "mined/dictionary.json", HOSTILE["a module in the folder"])
    done = call("overlap", "dictionaries=[mined,mined]", cwd=folder)
    assert done.returncode == 0, done.stderr


def test_the_users_own_variable_names_other_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROSETTA_PLUGINS", "toy.ToyModel, toy.ToyGenerator")
    entry = OmegaConf.create({"_target_": "toy.ToyModel", "size": 20, "weights": "random"})
    made = load_models({"a": entry}, maker=DISCRIMINATIVE)["a"]
    assert type(made).__name__ == "ToyModel"
    assert made.preprocess.size == (20, 20)
    with pytest.raises(RosettaError, match="not a Generator"):
        GENERATORS.find("toy.ToyModel")
    with pytest.raises(RosettaError, match="size"):
        DISCRIMINATIVE.make({"_target_": "toy.ToyModel", "size": "20"})
    monkeypatch.setenv("ROSETTA_PLUGINS", "")
    with pytest.raises(RosettaError, match="ROSETTA_PLUGINS"):
        DISCRIMINATIVE.find("toy.ToyModel")


def test_every_kind_is_there() -> None:
    for kinds in (GENERATORS, DISCRIMINATIVE, PERCEPTUAL, EDITS):
        for name, path in kinds.table.items():
            assert kinds.find(name) is kinds.find(path)
            assert f"{kinds.find(name).__module__}.{kinds.find(name).__qualname__}" == path
    assert EDITS.find("rosetta_lab.edits.Shift") is EDITS.find("shift")


def test_sources_that_the_users_own_configs_name_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"_target_": TIMM, "architecture": "resnet50.tv_in1k", "weights": "pretrained"}
    url = "https://dl.fbaipublicfiles.com/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth"
    check_sources([own, {"weights": url}, {"weights": "random"}, {"weights": "a/b.pkl"}], False)
    (tmp_path / "disc").mkdir()  # a config of one's own may say things twice
    (tmp_path / "disc/a.yaml").write_text(f"x: &x {{weights: '{url}y'}}\ny: *x\n")
    with monkeypatch.context() as patch:
        patch.setattr(foreign, "asset_root", lambda: tmp_path / "none")
        assert not foreign.own_sources()
        (tmp_path / "none").symlink_to(tmp_path)
        (tmp_path / "conf").symlink_to(tmp_path)
        assert foreign.own_sources() == {(None, f"{url}y")}
    for other in (own | {"architecture": "resnet18"}, {"weights": f"{url}x"}):
        with pytest.raises(RosettaError, match="trust_sources=true") as error:
            check_sources([{"model": other}], False)
        refusal(error)
        check_sources([{"model": other}], True)


def test_weights_are_those_of_the_mining_run(folder: Path) -> None:
    (folder / "own.safetensors").write_bytes(
        Path(load_mined("embedded").folder, "../weights/resnet_fashion.safetensors").read_bytes()
    )
    change(folder / "mined/dictionary.json", model(weights="own.safetensors"))
    load_mined("mined").models([NETWORK])
    tensors = load_file("own.safetensors")
    name = next(iter(tensors))
    save_file(tensors | {name: tensors[name] * 1.0001}, "own.safetensors")
    with pytest.raises(RosettaError, match="not those that the dictionary was mined with") as error:
        load_mined("mined").models([NETWORK])
    refusal(error)
    change(folder / "mined/dictionary.json", generator(weights="random"))
    with pytest.raises(RosettaError, match="not those that the dictionary was mined with"):
        load_mined("mined")


@pytest.mark.parametrize("zoo", ["${oc.env:SECRET}", "a,b", "../x", 3, None, ["embedded"]])
def test_a_dictionarys_zoo_is_a_name(zoo: Any, folder: Path) -> None:
    change(folder / "mined/dictionary.json", generator(zoo=zoo))
    assert zoo_of("mined") == "paper"
