"""Folders of strangers: what is written in them is data.

``evil.py`` lies in the folder, and in the path of modules: whoever imports it, or calls what it
has, leaves a marker.
"""

from __future__ import annotations

import json
import shutil
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from commands import call
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from rosetta_lab.compare.runs import read_arms
from rosetta_lab.dictionary.mined import load_mined
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.dictionary.statistics import load_statistics
from rosetta_lab.edit.recipe import EDITS, load_edit, with_recipe
from rosetta_lab.errors import RosettaError
from rosetta_lab.invert.page.index import incomparable
from rosetta_lab.models.load import load_models
from rosetta_lab.models.registry import DISCRIMINATIVE, GENERATORS, PERCEPTUAL, check_sources
from rosetta_lab.run.command_line import zoo_of
from rosetta_lab.run.configs import same_results
from rosetta_lab.run.foreign import parse_yaml, read_yaml
from rosetta_lab.run.resume import former_defaults, resumed_arguments

STORED = Path(__file__).parents[1] / "stored"
TIMM = "rosetta_lab.models.discriminative.timm.TimmModel"
CLIP = "rosetta_lab.models.discriminative.open_clip.OpenClipModel"
VGG = "rosetta_lab.models.discriminative.vgg.SmallVGGModel"
NETWORK = "resnet_fashion"
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of stored runs with a module beside them, where Python would find it."""
    shared = Path(shutil.copytree(STORED, tmp_path / "shared"))
    (shared / "evil.py").write_text(
        f"import pathlib\npathlib.Path({str(tmp_path / 'marker')!r}).touch()\n"
        "from rosetta_lab.models.generators.stylegan2 import StyleGAN2\n"
        "class Evil(StyleGAN2): pass\n"
    )
    monkeypatch.chdir(shared)
    monkeypatch.syspath_prepend(str(shared))
    monkeypatch.setenv("SECRET", "s3cr3t")
    return shared


@pytest.fixture(autouse=True)
def nothing_ran(tmp_path: Path) -> Any:
    yield
    assert not (tmp_path / "marker").exists()


def change(path: Path, how: Change) -> None:
    record = json.loads(path.read_text())
    how(record)
    path.write_text(json.dumps(record))


def refusal(error: pytest.ExceptionInfo[RosettaError]) -> str:
    """The message, which has at most two lines and no secret in it."""
    text = str(error.value)
    assert len(text.splitlines()) <= 2
    assert "s3cr3t" not in text
    return text


def model(**options: Any) -> Change:
    """A change of the dictionary's model."""
    return lambda record: record["config"]["disc"].update(
        {NETWORK: record["config"]["disc"][NETWORK] | options}
    )


def clip(**options: Any) -> Change:
    entry = {
        "_target_": CLIP,
        "architecture": "RN50",
        "weights": "random",
        "layers": ["visual.layer1"],
    }
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
    "a huge network": network(img_resolution=2**40),
    "an unknown option": network(hook="evil"),
    "open_clip unpickles": clip(model_kwargs={"weights_only": False}),
    "open_clip reads a path": clip(model_kwargs={"pretrained_image_path": "evil.pt"}),
    "open_clip's pretrained": clip(model_kwargs={"pretrained": "evil.pt"}),
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
    "psi is NaN": lambda record: record["config"].update(psi=None),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_dictionary_is_data(name: str, folder: Path) -> None:
    change(folder / "mined/dictionary.json", HOSTILE[name])
    with pytest.raises(RosettaError) as error:
        load_mined("mined").models([NETWORK])
    refusal(error)


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


def test_sources_that_the_users_own_configs_name_are_fetched(tmp_path: Path) -> None:
    own = {"_target_": TIMM, "architecture": "resnet50.tv_in1k", "weights": "pretrained"}
    url = "https://dl.fbaipublicfiles.com/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth"
    check_sources([own, {"weights": url}, {"weights": "random"}, {"weights": "a/b.pkl"}], False)
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


# Command lines of others


@pytest.mark.parametrize(
    "word",
    [
        "+logger.x={_target_: evil.Evil}",
        "+logger.x._target_=evil.Evil",
        "+trainer.callbacks=[{_target_: evil.Evil}]",
        "+hydra.callbacks.x={_target_: evil.Evil}",
        "++module._target_=evil.Evil",
        "module._target_=evil.Evil",
        "trainer={_target_: evil.Evil}",
        "trainer.enable_progress_bar={x: [{_target_: evil.Evil}]}",
        "data._target_=evil.Evil",
        "hydra/launcher=basic",
        "hydra.run.dir=elsewhere",
        "hydra.job_logging.root.handlers=[x]",
        "data@hydra.callbacks=samples",
        "--experimental-rerun=evil.pickle",
        "--config-dir=evil",
        "-cd=evil",
        "images=${oc.env:SECRET}",
        "images='${oc.env:SECRET}'",
        "data=../../evil",
        "logger=[../evil]",
        "perceptual.weights=https://localhost:1/evil.pth",
        "trust_sources=true",
        "++trainer={default_root_dir: evil}",
        "++lr=5",
        "logger.csv.save_dir=evil",
        "logger.wandb.project=evil",
        "~judges",
        "k=1,2",
        "steps",
        "a=[",
    ],
)
def test_stored_arguments_are_data(word: str, folder: Path) -> None:
    record = folder / "inverted_plain/.hydra/overrides.yaml"
    record.write_text(yaml.safe_dump(["steps=5", word]))
    with pytest.raises(RosettaError, match="refused") as error:
        resumed_arguments(["resume=inverted_plain"])
    refusal(error)
    if "=" in word and not word.startswith("-"):  # the user's own goes before it, and is no data
        assert resumed_arguments(["resume=inverted_plain", word]) == [
            "steps=5", "resume=inverted_plain", word
        ]  # fmt: skip


def test_a_resumed_run_refuses_a_strangers_logger(folder: Path) -> None:
    record = folder / "inverted_plain/.hydra/overrides.yaml"
    words = yaml.safe_load(record.read_text())
    record.write_text(yaml.safe_dump([*words, "+logger.x={_target_: evil.Evil}"]))
    done = call("invert", "resume=inverted_plain", cwd=folder)
    assert done.returncode == 1
    assert "refused" in done.stderr and "Traceback" not in done.stderr


def test_stored_arguments_name_keys_of_the_command(folder: Path) -> None:
    record = folder / "inverted_plain/.hydra/overrides.yaml"
    record.write_text(yaml.safe_dump(["no.such.key=1"]))
    done = call("invert", "resume=inverted_plain", cwd=folder)
    assert done.returncode == 1
    assert "there is no key 'no'" in done.stderr


def test_plain_arguments_are_resumed(folder: Path) -> None:
    words = ["data=samples", "layers=[a.b]", "loss.l2=1e-3", "+trainer.precision=bf16-mixed"]
    (folder / "inverted_plain/.hydra/overrides.yaml").write_text(yaml.safe_dump(words))
    assert resumed_arguments(["resume=inverted_plain"]) == [*words, "resume=inverted_plain"]


def test_former_defaults_are_data(folder: Path) -> None:
    stored = {"trust_sources": True, "steps": 3, "psi": "${oc.env:SECRET}", "judges": {"a": 1}}
    stored |= {"space": {"_target_": "evil.Evil"}, "images": "../x", "no_such_key": 1}
    (folder / "inverted_plain/.hydra/config.yaml").write_text(yaml.safe_dump(stored))
    resume = "resume=inverted_plain"
    assert former_defaults("invert", [resume]) == ["steps=3", resume]
    for text in ("- 1", "!!python/object/apply:os.system ['touch ../marker']"):
        (folder / "inverted_plain/.hydra/config.yaml").write_text(text)
        with pytest.raises(RosettaError):
            former_defaults("invert", [resume])


@pytest.mark.parametrize("zoo", ["${oc.env:SECRET}", "a,b", "../x", 3, None, ["embedded"]])
def test_a_dictionarys_zoo_is_a_name(zoo: Any, folder: Path) -> None:
    change(folder / "mined/dictionary.json", generator(zoo=zoo))
    assert zoo_of("mined") == "paper"


# Recipes


@pytest.mark.parametrize(
    "text",
    [
        "edit: {x: {_target_: evil.Evil}}",
        "edit: {x: {_target_: rosetta_lab.edit.edits.Shift, _partial_: true}}",
        "edit: {x: {_target_: '${target}'}}\ntarget: rosetta_lab.edit.edits.Shift",
        "edit: {x: {_target_: rosetta_lab.edit.edits.Shift, mask: {_target_: evil.Evil}}}",
        "edit: {x: {_target_: rosetta_lab.edit.edits.Shift, dx: '${oc.env:SECRET}'}}",
        "edit: {x: {_target_: rosetta_lab.edit.edits.Shift, dx: '0.25'}}",
        "edit: {x: 1}",
        "edit: {}\nperceptual: {_target_: evil.Evil}",
        "edit: {}\nperceptual: {_target_: rosetta_lab.models.perceptual.LPIPS, network: vgg, "
        "weights: 'https://localhost:1/x'}",
        "edit: {}\ntrust_sources: true",
        "edit: {}\nlogger: {x: {_target_: evil.Evil}}",
        "edit: {}\ntrainer: {callbacks: [{_target_: evil.Evil}]}",
        "edit: {}\nloss: {_target_: evil.Evil}",
        "edit: &a {x: *a}",
        "edit: !!python/object/apply:os.system ['touch ../marker']",
    ],
)
def test_a_recipe_is_data(text: str, folder: Path) -> None:
    (folder / "recipe.yaml").write_text(text)
    cfg = OmegaConf.create(
        {
            **{"recipe": "recipe.yaml", "edit": {}, "perceptual": {}, "loss": {}, "target": ""},
            **{"logger": None, "trainer": {}, "trust_sources": False},
        }
    )
    with pytest.raises(RosettaError) as error:
        load_edit(with_recipe(cfg))
    refusal(error)


def test_an_edit_refuses_a_strangers_recipe(folder: Path) -> None:
    recipe = folder / "edited/recipe.yaml"
    recipe.write_text(recipe.read_text().replace("rosetta_lab.edits.Shift", "evil.Evil"))
    done = call("edit", "recipe=edited/recipe.yaml", cwd=folder)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "refused" in said and "Traceback" not in said


# Comparisons


def test_a_comparison_resolves_and_imports_nothing(folder: Path) -> None:
    for name in ("inverted_plain", "inverted_all"):
        path = folder / name / ".hydra/config.yaml"
        config = yaml.safe_load(path.read_text())
        config["judges"] = {
            "a": {"_target_": "evil.Evil"},
            "b": {"_target_": "${oc.env:SECRET}"},
            "c": {"_target_": "rosetta_lab.models.perceptual.LPIPS", "weights": "x"},
            "d": "evil.Evil",
        }
        config |= {"seed": "${oc.env:SECRET}", "alpha": 0.3}
        path.write_text(yaml.safe_dump(config))
    with open(folder / "inverted_plain/.hydra/overrides.yaml", "a") as file:
        file.write("- seed=3\n- loss.latent_l2=0.5\n- label='${oc.env:SECRET}'\n")
    arms = read_arms([Path("inverted_plain"), Path("inverted_all")])
    assert arms[1].parameters["seed"] == "${oc.env:SECRET}"
    assert arms[1].parameters["loss.latent_l2"] == "0.3"  # by way of alpha
    assert incomparable(arms[0].cfg["judges"]) == ["a", "b", "d"]
    done = call("compare", "runs=[inverted_plain,inverted_all]", "resamples=10", cwd=folder)
    assert done.returncode == 0, done.stderr
    written = [path for path in (folder / "outputs").rglob("*") if path.is_file()]
    assert written
    assert "s3cr3t" not in done.stdout + done.stderr
    assert not any(b"s3cr3t" in path.read_bytes() for path in written)


def test_settings_of_others_are_data() -> None:
    assert same_results("steps: 5\nlr: 1e-3", "lr: 0.001\nsteps: 5\nnew: 1")
    assert not same_results("steps: '${oc.env:SECRET}'", "steps: s3cr3t")
    assert not same_results("a: &x [1]\nb: *x", "b: [1]")


def test_yaml_of_others_stays_small() -> None:
    bomb = "a: &a [x,x]\n" + "".join(
        f"{b}: &{b} [*{a},*{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    for text in (bomb, "[" * 5000, "a: 2026-11-28\n!!binary x: y", "a: b: c"):
        with pytest.raises(RosettaError) as error:
            parse_yaml(text, "settings")
        refusal(error)
    assert parse_yaml("{a: 2026-11-28, b: 1e-3}", "x") == {"a": "2026-11-28", "b": 0.001}


@pytest.mark.parametrize(
    "text",
    [
        *("[" + "1," * 65_000 + "]", "- a\n" * 32_000, "[" + "{}," * 43_000 + "]", "#" * 131_072),
        *("a: 1" + ":1" * 65_000, "a: 1" + ":1" * 65_000 + ".5", "a: 0x" + "f" * 131_000),
        *("a: !!int ''", "a: !!float ''", "a: !!bool x", "a: !!timestamp x", 'a: "\\ud800"'),
        "x" * 200_000,
    ],
)
def test_yaml_of_others_is_soon_read(text: str, tmp_path: Path) -> None:
    """As large as it may be, it is read, or refused, in seconds and a few megabytes."""
    (tmp_path / "config.yaml").write_text(text)
    begun = time.process_time()
    tracemalloc.start()
    with suppress(RosettaError):
        read_yaml(tmp_path / "config.yaml")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.process_time() - begun < 30  # tracing makes it three times as long
    assert peak < 200e6


# A dictionary's own record


def first(record: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = record["neurons"][0]
    return found


BROKEN: dict[str, Change] = {
    "a negative channel": lambda r: first(r)["generator"].update(channel=-1),
    "a fractional channel": lambda r: first(r)["generator"].update(channel=1.5),
    "a whole channel that is no integer": lambda r: first(r)["generator"].update(channel=1.0),
    "a channel beyond the layer": lambda r: first(r)["generator"].update(channel=10**6),
    "an unknown layer": lambda r: first(r)["generator"].update(layer="\x1b[31mx"),
    "an unknown model": lambda r: first(r)["matches"].update(x=[]),
    "a match beyond the layer": lambda r: first(r)["matches"][NETWORK][0].update(channel=10**6),
    "a match in an unknown layer": lambda r: first(r)["matches"][NETWORK][0].update(layer="x"),
    "r is NaN": lambda r: first(r)["matches"][NETWORK][0].update(r=float("nan")),
    "r is text": lambda r: first(r)["matches"][NETWORK][0].update(r="0.5"),
    "r is 2": lambda r: first(r)["matches"][NETWORK][0].update(r=2.0),
    "an infinite score": lambda r: first(r).update(score=float("inf")),
    "an unknown concept": lambda r: first(r).update(concept=10**6),
    "a concept of no neuron": lambda r: r["concepts"][0].update(neurons=[10**6]),
    "a concept's representative": lambda r: r["concepts"][0].update(representative=-1),
    "two layers of one name": lambda r: r["generator"]["layers"].append(
        r["generator"]["layers"][0]
    ),
    "more units than memory": lambda r: r["generator"]["layers"][0].update(channels=1 << 39),
    "many layers of many units": lambda r: r["generator"]["layers"].extend(
        {"name": f"x{i}", "channels": 1 << 20, "height": 1, "width": 1} for i in range(9)
    ),
    "a model of every name": lambda r: (
        r["discriminative"].update(all=r["discriminative"].pop(NETWORK)),
        [n["matches"].update(all=n["matches"].pop(NETWORK)) for n in r["neurons"]],
    ),
    "a layer without units": lambda r: r["generator"]["layers"][0].update(channels=0),
    "a layer without a size": lambda r: r["generator"]["layers"][0].update(height=-4),
    "k is 0": lambda r: r.update(k=0),
    "no images": lambda r: r.update(num_images=0),
    "no seed": lambda r: r.pop("seed"),
    "models in a list": lambda r: r.update(discriminative=[1]),
    "no mapping": lambda r: r.update(config=[1]),
    "another schema": lambda r: r.update(schema=["rosetta_lab.dictionary/2"]),
}


@pytest.mark.parametrize("schema", [1, 2])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_dictionary_is_no_other_one(name: str, schema: int, folder: Path) -> None:
    path = folder / "mined/dictionary.json"
    change(path, lambda record: record.update(schema=f"rosetta_lab.dictionary/{schema}"))
    RosettaDictionary.load("mined")
    change(path, BROKEN[name])
    with pytest.raises(RosettaError) as error:
        RosettaDictionary.load("mined")
    assert refusal(error).isprintable() or "\x1b" not in refusal(error)


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff\xfe", b"3", b"[" * 100_000, b'{"k": NaN}'])
def test_what_is_no_dictionary_is_told(data: bytes, folder: Path) -> None:
    (folder / "mined/dictionary.json").write_bytes(data)
    with pytest.raises(RosettaError) as error:
        RosettaDictionary.load("mined")
    refusal(error)
    done = call("overlap", "dictionaries=[mined,mined]", cwd=folder)
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "rows",
    [
        torch.tensor([[0, 0, 1]]).float(),
        torch.tensor([[-1, 0, 1]]),
        torch.tensor([[0, 10**6, 1]]),
        torch.tensor([[10**6, 0, 1]]),
        torch.tensor([[0, 0, -1]]),
        torch.tensor([[0, 0]]),
        torch.tensor([0, 0, 1]),
    ],
)
def test_pairs_are_of_units_that_there_are(rows: torch.Tensor, folder: Path) -> None:
    save_file({NETWORK: torch.tensor([[0, 0, 1]])}, "mined/best_buddies.safetensors")
    RosettaDictionary.load("mined")
    save_file({NETWORK: rows}, "mined/best_buddies.safetensors")
    with pytest.raises(RosettaError) as error:
        RosettaDictionary.load("mined")
    refusal(error)


def test_evidence_and_statistics_are_of_units_that_there_are(folder: Path) -> None:
    save_file({NETWORK: torch.tensor([[0, 0, 1]])}, "mined/best_buddies.safetensors")
    for key, values in {
        "q": torch.tensor([0.5, 0.5]),
        "r": torch.tensor([torch.nan]),
        "decoys": torch.tensor([[0, -1]]),
    }.items():
        save_file({f"{NETWORK}/{key}": values}, "mined/evidence.safetensors")
        with pytest.raises(RosettaError) as error:
            RosettaDictionary.load("mined")
        refusal(error)
    Path("mined/evidence.safetensors").write_bytes(b"x")
    with pytest.raises(RosettaError):
        RosettaDictionary.load("mined")
    for mean, var in (([0.0], [-1.0]), ([0.0], [torch.nan]), ([0.0, 1.0], [1.0])):
        tensors = {"g/a/mean": torch.tensor(mean), "g/a/var": torch.tensor(var)}
        save_file(tensors, "mined/statistics.safetensors")
        with pytest.raises(RosettaError) as error:
            load_statistics(Path("mined"), "g")
        refusal(error)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("2E4", 2e4), ("198644e37de3", "198644e37de3"), ("12e5x", "12e5x"), ("7", 7)],
)
def test_numbers_are_read_as_omegaconf_reads_them(tmp_path: Path, text: str, value: object) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(f"value: {text}\n")
    assert read_yaml(path) == {"value": value} == OmegaConf.to_container(OmegaConf.load(path))
