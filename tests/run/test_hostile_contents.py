"""Dictionaries, recipes, results and links of strangers that fit nothing else."""

from __future__ import annotations

import json
import os
import shutil
import struct
import threading
import zlib
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from cases import first, in_turn
from hostile_folders import NETWORK, folder, in_json, in_yaml, opened  # noqa: F401  fixtures
from safetensors import safe_open
from safetensors.torch import load_file, save_file

# The fixtures are imported by name.
# ruff: noqa: F811


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


@pytest.mark.parametrize(
    ("how", "of", "command"),
    in_turn(
        product([more_channels, larger_maps, another_layer], ["generator", NETWORK]),
        ["invert", "visualize", "ablate"],
    ),
)
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


@pytest.mark.parametrize(
    ("how", "command"),
    in_turn(["short", "others", "whole numbers", "none"], ["invert", "visualize", "ablate"]),
)
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
    first(9, [
        *(("keep", "x"), ("steps", "x"), ("lr", {"a": 1}), ("psi", "x")),
        *(("concepts", ["x"]), ("latent", {"seed": "x"}), ("reference_images", -1)),
        *(("reference_images", 10**7), ("steps", 10**12), ("frames", 10**9)),
        *(("latent", {"seed": list(range(2000))}), ("inversion", {"steps": 10**12})),
        *(("matches", 3), ("loss", {"activation": "x"}), ("origin", [1]), ("space", 7)),
    ]),
)  # fmt: skip
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


@pytest.mark.parametrize("name", first(1, NAMES))
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


@pytest.mark.parametrize(
    ("file", "contents", "command"),
    in_turn([
        ("result.json", b"[]"),
        ("result.json", b'{"id": "../../outside", "psnr": 1}'),
        ("result.json", b'{"id": "coat_red", "label": 1e9, "psnr": 1}'),
        ("result.json", b'{"id": "coat_red", "psnr": "1", "ssim": null}'),
        ("result.json", b'{"id": "coat_red", "psnr": 1e999}'),
        ("result.json", b'{"id": "coat_red", "psnr": 1e299, "ssim": -1e299}'),
        ("result.json", b'{"id": "coat_red", "psnr": 1' + bytes([48]) * 299 + b"}"),
        ("result.json", b'{"id": "coat_red", "\x1b[2J": 1}'),
        ("result.json", MANY_FIGURES),
        ("target.png", b"no picture"),
        ("target.png", HUGE_PICTURE),
        ("inverted.png", b""),
        ("latent.safetensors", b"x" * 100),
    ], ["compare", "resume", "start"]),
)  # fmt: skip
def test_results(file: str, contents: bytes, command: str, folder: Path) -> None:
    for path in folder.glob(f"inverted_*/results/coat_red/{file}"):
        path.write_bytes(contents)
        path.with_name("difference.png").unlink(missing_ok=True)
    opened(command, folder)


@pytest.mark.parametrize(
    ("link", "command"),
    in_turn(
        [".hydra", ".hydra/config.yaml", "results", "atlas", "csv"],
        ["compare", "resume", "resume mining", "atlas"],
    ),
)
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


@pytest.mark.parametrize("name", ["csv/metrics.csv", "invert.log", "results/coat_red/result.json"])
def test_pipes_in_a_run(name: str, folder: Path) -> None:
    """Whoever opens one waits, perhaps for ever."""
    place = folder / "inverted_all" / name
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    os.mkfifo(place)
    done = threading.Event()

    def let_go() -> None:
        """End the wait at the other end of the pipe; who does not wait is not met here."""
        while not done.wait(30):
            os.close(os.open(place, os.O_RDWR | os.O_NONBLOCK))
            waited.append(place)

    waited: list[Path] = []
    watch = threading.Thread(target=let_go, daemon=True)
    watch.start()
    try:
        assert opened("resume", folder).returncode == 1
    finally:
        done.set()
        watch.join()
    assert not waited


@pytest.mark.parametrize(
    "name",
    first(2, ["csv/metrics.csv", "settings.yaml", "invert.log", ".hydra/resumed/config.yaml"]),
)
def test_folders_in_the_place_of_files(name: str, folder: Path) -> None:
    place = folder / "inverted_all" / name
    place.unlink(missing_ok=True)
    place.mkdir(parents=True)
    assert opened("resume", folder).returncode == 1


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


def test_a_file_in_the_place_of_notes(folder: Path) -> None:
    (folder / "inverted_all/.hydra/resumed").touch()
    assert opened("resume", folder).returncode == 1
