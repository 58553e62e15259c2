"""Values, YAML and arguments of strangers, in every file that could carry them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from cases import first, in_turn
from hostile_folders import COMMANDS, LOAD_MODELS, NETWORK, STORED, folder, in_json, in_yaml, opened  # noqa: F401

# The fixtures are imported by name.
# ruff: noqa: F811

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


@pytest.mark.parametrize(
    "command", first(3, [c for c in COMMANDS if c != "atlas"])
)  # it takes long
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


@pytest.mark.parametrize(
    ("kind", "command"), in_turn(STREAMS, ["compare", "resume", "resume mining", "recipe"])
)
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
