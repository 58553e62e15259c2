"""Arguments, recipes, comparisons and YAML of strangers: what is written in them is data."""

from __future__ import annotations

import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from cases import slow
from commands import call
from omegaconf import OmegaConf
from strangers import folder, nothing_ran, refusal  # noqa: F401  fixtures

from rosetta_lab.compare.runs import read_arms
from rosetta_lab.edit.recipe import load_edit, with_recipe
from rosetta_lab.errors import RosettaError
from rosetta_lab.invert.page.index import incomparable
from rosetta_lab.run.configs import same_results
from rosetta_lab.run.foreign import parse_yaml, read_yaml
from rosetta_lab.run.resume import former_defaults, resumed_arguments

# The fixtures are imported by name.
# ruff: noqa: F811


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
        f"seed={'9' * 4000}",
        f"{'a' * 2000}={'${oc.env:SECRET}'}",
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


def test_a_key_that_is_too_long_for_a_path_is_none(folder: Path) -> None:
    record = folder / "inverted_plain/.hydra/overrides.yaml"
    record.write_text(yaml.safe_dump([f"{'a' * 2000}=1"]))
    done = call("invert", "resume=inverted_plain", cwd=folder)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "there is no key" in done.stderr


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


def test_a_recipe_that_would_double_and_double(folder: Path) -> None:
    lines = [f"a{i}: '${{a{i - 1}}}${{a{i - 1}}}'" for i in range(1, 40)]
    text = "\n".join(["edit: {x: {_target_: shift}}", "a0: x", *lines, "space: '${a39}'"])
    (folder / "recipe.yaml").write_text(text)
    cfg = OmegaConf.create({"recipe": "recipe.yaml", "edit": {}, "space": "w"})
    with pytest.raises(RosettaError, match="nothing in it is resolved") as error:
        with_recipe(cfg)
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
        "#" * 131_072,
        *map(slow, ("[" + "1," * 65_000 + "]", "- a\n" * 32_000, "[" + "{}," * 43_000 + "]")),
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


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("2E4", 2e4), ("198644e37de3", "198644e37de3"), ("12e5x", "12e5x"), ("7", 7)],
)
def test_numbers_are_read_as_omegaconf_reads_them(tmp_path: Path, text: str, value: object) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(f"value: {text}\n")
    assert read_yaml(path) == {"value": value} == OmegaConf.to_container(OmegaConf.load(path))
