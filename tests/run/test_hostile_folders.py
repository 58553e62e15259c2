"""Folders of strangers, opened by every command that opens one.

A kind of attack is written into every file of a run that could carry it. Whatever a command makes
of it, nothing of it runs: ``evil.py``, beside the run and in the path of modules, would leave a
marker, and so would a shell. No variable of the environment gets out, no file is written elsewhere,
a terminal is only shown text, and what is wrong is told in two lines.
"""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import Done, call
from safetensors import safe_open
from safetensors.torch import load_file, save_file

STORED = Path(__file__).parents[1] / "stored"
NETWORK = "resnet_fashion"
SHIFT = "rosetta_lab.edit.edits.Shift"
QUIET = "trainer.enable_progress_bar=false"

COMMANDS: dict[str, list[str]] = {
    "invert": ["invert", "dictionary=mined", "data.path=photos", "steps=1", QUIET],
    "edit": [
        *("edit", "dictionary=mined", "steps=1", "controls=false", "frames=0"),
        *("reference_images=2", "latent.seed=0", QUIET),
    ],
    "visualize": [
        *("visualize", "dictionary=mined", "images=4", "shown=2", "steps=1", "seeds=0", QUIET)
    ],
    "atlas": [
        *("visualize", "dictionary=mined", "images=2", "shown=1", "steps=1", "seeds=0"),
        *("concept=all", QUIET),
    ],
    "ablate": [
        *("ablate", "dictionary=mined", "images=photos", "latents=2", "draws=1", "resamples=10"),
        *("pictures=1", QUIET),
    ],
    "overlap": ["overlap", "dictionaries=[mined,mined]"],
    "compare": ["compare", "runs=[inverted_plain,inverted_all]", "resamples=10"],
    "resume": ["invert", "resume=inverted_all"],
    "resume mining": ["mine", "resume=mined", "num_images=4", "page_images=2", "null=none"],
    "start": [
        *("invert", "dictionary=mined", "data.path=photos", "steps=1", "matches=none"),
        *("start=inverted_all", QUIET),
    ],
    "recipe": ["edit", "recipe=edited/recipe.yaml", "frames=0", "controls=false", QUIET],
}
LOAD_MODELS = {"invert", "edit", "visualize", "atlas", "ablate", "resume", "start", "recipe"}

# What is put in the place of a value, or beside it, in every file.
VALUES: dict[str, Any] = {
    "a class": {"_target_": "evil.Evil"},
    "a class in lists": [[{"a": [{"_target_": "evil.Evil"}]}]],
    "a partial class": {"_target_": "evil.Evil", "_partial_": True, "_args_": [1]},
    "a function": {"_target_": "os.system", "command": "touch ../marker"},
    "a class under another key": {"a": {"_target_": "evil.Evil", "_recursive_": True}},
    "a variable": "${oc.env:SECRET}",
    "a variable in a text": "http://localhost:1/${oc.env:SECRET}",
    "a decoded variable": "${oc.decode:${oc.env:SECRET}}",
    "a resolver of ours": "${rosetta_run_dir:evil,null}",
    "a made value": "${oc.create:{_target_:evil.Evil}}",
    "a variable in a key": {"${oc.env:SECRET}": 1},
    "a missing value": "???",
    "a terminal's command": "\x1b]0;evil\x07\x1b[2J\x9b31m\r\u202e",
    "a formula": '=HYPERLINK("http://localhost:1/"&A1)',
    "another folder": "../../outside",
    "a place of its own": "/proc/self/environ",
    "a NUL": "a\0b",
    "a long text": "x" * 5000,
    "half a character": "\ud800",
    "a number": 1e300,
    "a huge number": 10**400,
    "nothing": None,
}
STREAMS = {  # files that are no plain YAML
    "a Python tag": "a: !!python/object/apply:os.system ['touch ../marker']\n",
    "a Python name": "a: !!python/name:evil.Evil\n",
    "a tag by another name": (
        "%TAG !e! tag:yaml.org,2002:python/\n--- !e!object/apply:os.system ['touch ../marker']\n"
    ),
    "an anchor": "a: &a {_target_: evil.Evil}\nb: *a\n",
    "a merge": "a: &a {_target_: evil.Evil}\nb: {<<: *a}\n",
    "many of many": "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)),
    "a number in base 60": f"a: 1{':1' * 50_000}\n",
    "no YAML": "\x00\x01",
    "half a list": "[" * 3000,
}  # fmt: skip
WORDS = [  # of command lines
    "{}module._target_=evil.Evil",
    "{}logger.x={{_target_: evil.Evil}}",
    "{}trainer={{callbacks: [{{_target_: evil.Evil}}]}}",
    "{}hydra.callbacks.x={{_target_: evil.Evil}}",
    "{}hydra.run.dir=../outside",
    "{}hydra.searchpath=[file://.]",
    "{}logger.csv.save_dir=../outside",
    "{}data@hydra.callbacks=samples",
    "{}images=${{oc.env:SECRET}}",
    "--config-dir=.",
    "--config-path=.",
    "--experimental-rerun=evil.pickle",
    "trust_sources=true",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of stored runs, with ``evil`` in it; nothing of it has run, or got out, at the end."""
    shared = Path(shutil.copytree(STORED, tmp_path / "shared"))
    marker = tmp_path / "marker"
    (shared / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Evil: pass\n")
    monkeypatch.syspath_prepend(str(shared))
    monkeypatch.setenv("SECRET", "s3cr3t")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield shared
    assert {path.name for path in tmp_path.iterdir()} <= {"shared"}  # no marker, nothing else
    for path in shared.rglob("*"):
        assert not path.is_file() or b"s3cr3t" not in path.read_bytes(), path


def opened(command: str, folder: Path) -> Done:
    """What a command makes of the folder: something, or a refusal in two lines."""
    done = call(*COMMANDS[command], cwd=folder)
    said = done.stdout + done.stderr
    assert done.returncode in (0, 1)
    assert "s3cr3t" not in said and "Traceback" not in said
    assert all(c.isprintable() or c in "\n\t" for c in said.replace("\r", "")), ascii(said)
    if done.returncode:
        assert len(done.stderr.strip().splitlines()) <= 2, done.stderr
    return done


def change(path: Path, how: Callable[[Any], None], read: Any, write: Any) -> None:
    record = read(path.read_text())
    how(record)
    path.write_text(write(record))


def in_json(path: Path, how: Callable[[Any], None]) -> None:
    change(path, how, json.loads, json.dumps)


def in_yaml(path: Path, how: Callable[[Any], None]) -> None:
    change(path, how, yaml.safe_load, lambda record: yaml.safe_dump(record, allow_unicode=False))


def everywhere(folder: Path, value: Any) -> None:
    """Put a value into every file of the folder."""

    def in_dictionary(record: Any) -> None:
        entry = record["config"]["disc"][NETWORK]
        entry["preprocess"] = entry["pretrained_cfg"] = value
        record["config"]["gen"]["class_names"] = [value]
        record["config"]["extra"] = record["summary"]["extra"] = value
        record["discriminative"][NETWORK]["preprocess"] = {"size": value}

    def in_recipe(record: Any) -> None:
        record["edit"]["shift"]["mask"] = record["extra"] = value

    def in_config(record: Any) -> None:
        record["judges"] = {"a": value}
        record |= {"module": value, "extra": value, "matches": value, "dictionary": value}

    in_json(folder / "mined/dictionary.json", in_dictionary)
    in_yaml(folder / "edited/recipe.yaml", in_recipe)
    for run in ("inverted_plain", "inverted_all", "mined"):
        in_yaml(folder / run / ".hydra/config.yaml", in_config)
        if run != "mined":
            in_yaml(folder / run / "settings.yaml", lambda record: record.update(extra=value))


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "atlas"])  # it takes long
def test_what_nobody_has_changed_is_opened(command: str, folder: Path) -> None:
    """So that what is refused below is refused for what was put into it."""
    assert opened(command, folder).returncode == 0


QUICK = [("a class in lists", command) for command in COMMANDS]
QUICK += [("a terminal's command", "compare"), ("a decoded variable", "resume")]


@pytest.mark.parametrize(("kind", "command"), QUICK)
def test_values(kind: str, command: str, folder: Path) -> None:
    everywhere(folder, VALUES[kind])
    assert opened(command, folder).returncode == 1 or command not in LOAD_MODELS


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", VALUES)
def test_values_in_every_command(kind: str, command: str, folder: Path) -> None:
    everywhere(folder, VALUES[kind])
    opened(command, folder)


@pytest.mark.parametrize("command", ["compare", "resume", "resume mining", "recipe"])
@pytest.mark.parametrize("kind", STREAMS)
def test_files_that_are_no_plain_yaml(kind: str, command: str, folder: Path) -> None:
    for path in folder.rglob("*.yaml"):
        path.write_text(STREAMS[kind])
    assert opened(command, folder).returncode == 1


@pytest.mark.parametrize("word", WORDS)
def test_command_lines(word: str, folder: Path) -> None:
    for sign in ("", "+", "++", "~") if "{}" in word else ("",):
        for run in ("inverted_all", "inverted_plain"):
            record = folder / run / ".hydra/overrides.yaml"
            words = yaml.safe_load((STORED / run / ".hydra/overrides.yaml").read_text())
            record.write_text(yaml.safe_dump([*words, word.format(sign)]))
        assert opened("resume", folder).returncode == 1
    opened("compare", folder)


def more_channels(card: Any, units: list[Any]) -> None:
    for layer in card["layers"]:
        layer["channels"] += 8
    for unit in units:
        layer = next(layer for layer in card["layers"] if layer["name"] == unit["layer"])
        unit["channel"] = layer["channels"] - 1


def larger_maps(card: Any, units: list[Any]) -> None:
    for layer in card["layers"]:
        layer["height"] *= 2


def another_layer(card: Any, units: list[Any]) -> None:
    name = card["layers"][0]["name"]
    for place, key in ((card["layers"][0], "name"), *((unit, "layer") for unit in units)):
        if place[key] == name:
            place[key] = "no.such"


@pytest.mark.parametrize("command", ["invert", "visualize", "ablate"])
@pytest.mark.parametrize("of", ["generator", NETWORK])
@pytest.mark.parametrize("how", [more_channels, larger_maps, another_layer])
def test_layers_that_are_not_the_models(
    how: Callable[[Any, list[Any]], None], of: str, command: str, folder: Path
) -> None:
    """Not other units without a word, nor a traceback where they are looked for."""

    def change(record: Any) -> None:
        if of == "generator":
            how(record[of], [neuron[of] for neuron in record["neurons"]])
        else:
            units = [match for neuron in record["neurons"] for match in neuron["matches"][of]]
            how(record["discriminative"][of], units)

    in_json(folder / "mined/dictionary.json", change)
    assert opened(command, folder).returncode == 1


@pytest.mark.parametrize("command", ["invert", "visualize", "ablate"])
@pytest.mark.parametrize("how", ["short", "others", "whole numbers", "none"])
def test_statistics_of_other_layers(how: str, command: str, folder: Path) -> None:
    path = folder / "mined/statistics.safetensors"
    tensors = load_file(path)
    changed = {
        "short": {name: x[:-1].clone() for name, x in tensors.items()},
        "others": {f"x{name}": x for name, x in tensors.items()},
        "whole numbers": {name: x.long() for name, x in tensors.items()},
    }
    save_file(changed.get(how, {"x": next(iter(tensors.values()))}), path)
    assert opened(command, folder).returncode == 1


@pytest.mark.parametrize("command", ["invert", "visualize", "overlap"])
def test_neurons_without_matches(command: str, folder: Path) -> None:
    in_json(
        folder / "mined/dictionary.json",
        lambda record: [neuron["matches"].clear() for neuron in record["neurons"]],
    )
    assert opened(command, folder).returncode == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("keep", "x"), ("steps", "x"), ("lr", {"a": 1}), ("psi", "x")),
        *(("concepts", ["x"]), ("latent", {"seed": "x"}), ("reference_images", -1)),
        *(("matches", 3), ("loss", {"activation": "x"}), ("origin", [1]), ("space", 7)),
    ],
)
def test_values_of_recipes(key: str, value: Any, folder: Path) -> None:
    in_yaml(folder / "edited/recipe.yaml", lambda record: record.update({key: value}))
    assert opened("recipe", folder).returncode == 1


NAMES = {
    "a folder above": "../../outside",
    "a folder of its own": "/tmp/outside",
    "a terminal's command": "\x1b]0;evil\x07\x1b[2J\u202e",
    "an element": "<img src=x onerror=alert(1)>",
    "a formula": "=1+1",
    "a device": "con",
    "a very long name": "n" * 300,
    "a line": "a\nb\nc\nd",
    "a name of the null": "none",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_models(name: str, folder: Path) -> None:
    """They stand in tables and on pages, and are no names of files."""
    mined, new = folder / "mined", NAMES[name]

    def rename(record: Any) -> None:
        for holder in (
            *(record["config"]["disc"], record["discriminative"]),
            *(neuron["matches"] for neuron in record["neurons"]),
        ):
            holder[new] = holder.pop(NETWORK)
        record["discriminative"][new]["name"] = new

    in_json(mined / "dictionary.json", rename)
    for file in ("best_buddies.safetensors", "statistics.safetensors"):
        tensors = load_file(mined / file)
        save_file({key.replace(NETWORK, new): x for key, x in tensors.items()}, mined / file)
    with safe_open(mined / "best_buddies.safetensors", "pt") as stream:
        assert new in stream.keys()  # noqa: SIM118
    for command in ("overlap", "ablate", "visualize"):
        opened(command, folder)


HUGE_PICTURE = (
    b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">IIBBBBB", 13000, 13000, 8, 2, 0, 0, 0)
)
HUGE_PICTURE += struct.pack(">I", zlib.crc32(HUGE_PICTURE[12:]))
MANY_FIGURES = json.dumps({"id": "coat_red"} | {f"f{i}": 1 for i in range(10**5)}).encode()


@pytest.mark.parametrize("command", ["compare", "resume", "start"])
@pytest.mark.parametrize(
    ("file", "contents"),
    [
        ("result.json", b"[]"),
        ("result.json", b'{"id": "../../outside", "psnr": 1}'),
        ("result.json", b'{"id": "coat_red", "label": 1e9, "psnr": 1}'),
        ("result.json", b'{"id": "coat_red", "psnr": "1", "ssim": null}'),
        ("result.json", b'{"id": "coat_red", "psnr": 1e999}'),
        ("result.json", b'{"id": "coat_red", "\x1b[2J": 1}'),
        ("result.json", MANY_FIGURES),
        ("target.png", b"no picture"),
        ("target.png", HUGE_PICTURE),
        ("inverted.png", b""),
        ("latent.safetensors", b"x" * 100),
    ],
)  # fmt: skip
def test_results(file: str, contents: bytes, command: str, folder: Path) -> None:
    for path in folder.glob(f"inverted_*/results/coat_red/{file}"):
        path.write_bytes(contents)
        path.with_name("difference.png").unlink(missing_ok=True)
    opened(command, folder)


@pytest.mark.parametrize("command", ["compare", "resume", "resume mining", "atlas"])
@pytest.mark.parametrize("link", [".hydra", ".hydra/config.yaml", "results", "atlas", "csv"])
def test_links_out_of_a_run(link: str, command: str, folder: Path, tmp_path: Path) -> None:
    """They would lead what is written to where the user has something else."""
    treasure = folder / "treasure"
    treasure.mkdir()
    for name in ("config.yaml", "index.html", "metrics.csv"):
        (treasure / name).write_text("precious")
    for run in ("inverted_plain", "inverted_all", "mined"):
        place = folder / run / link
        aim = treasure / place.name if place.suffix else treasure
        if place.is_dir():
            shutil.copytree(place, treasure, dirs_exist_ok=True)
            for name in ("config.yaml", "index.html", "metrics.csv"):
                (treasure / name).write_text("precious")
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        place.symlink_to(aim)
    assert opened(command, folder).returncode == 1
    for name in ("config.yaml", "index.html", "metrics.csv"):
        assert (treasure / name).read_text() == "precious"


def test_links_of_wandb(folder: Path, tmp_path: Path) -> None:
    """Its own logs of earlier runs lie in the user's cache; no later run writes there."""
    logs = folder / "inverted_all/wandb/offline-run-1/logs"
    logs.mkdir(parents=True)
    (logs / "debug-core.log").symlink_to(folder / "core-debug.log")
    (logs.parents[1] / "latest-run").symlink_to("offline-run-1")
    assert opened("compare", folder).returncode == 0
    assert opened("resume", folder).returncode == 0
    (logs.parents[1] / "run_id.txt").symlink_to(folder / "secret")
    assert opened("resume", folder).returncode == 1
