"""Mining by its command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from commands import Done, call, process
from safetensors.torch import load_file
from toy_runs import MINE


def command(tmp_path: Path, *overrides: str, within: bool = True) -> Done:
    """Mine, with a cache of its own; in another process if not within this one."""
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]  # of the toys
    environment = {"PYTHONPATH": os.pathsep.join(paths), "ROSETTA_CACHE": str(tmp_path / "cache")}
    return (call if within else process)("mine", *overrides, cwd=tmp_path, **environment)


def toy_run(tmp_path: Path, name: str, *overrides: str, within: bool = True) -> Path:
    arguments = [*MINE, f"hydra.run.dir={name}", *overrides]
    done = command(tmp_path, *arguments, within=within)
    assert done.returncode == 0, done.stderr[-2000:]
    return tmp_path / name


def test_command_line_run(tmp_path: Path) -> None:
    first = toy_run(tmp_path, "first")
    assert {p.name for p in first.iterdir()} >= {
        "dictionary.json",
        "statistics.safetensors",
        "index.html",
        "correlation",
    }
    statistics = load_file(first / "statistics.safetensors")
    assert statistics["toy/late/mean"].shape == (6,)
    assert statistics["b/copy/count"].tolist() == [30 * 25] * 3

    # The same ingredients again: the tables come from the cache, the dictionary is the same.
    second = toy_run(tmp_path, "second")
    third = toy_run(tmp_path, "third", "cache=false")
    records = [json.loads((f / "dictionary.json").read_text()) for f in (first, second, third)]
    for run in records:
        del run["created"], run["sha256"], run["summary"]["seconds"]
    assert records[0]["neurons"]
    assert records[0] == records[1]
    del records[2]["config"]["cache"], records[0]["config"]["cache"]
    assert json.dumps(records[0]) == json.dumps(records[2])


@pytest.mark.slow
def test_two_processes_give_the_same_tables(tmp_path: Path) -> None:
    one = toy_run(tmp_path, "one", "cache=false")
    share = ["trainer.devices=2", "trainer.strategy=ddp"]
    two = toy_run(tmp_path, "two", "cache=false", *share, within=False)
    for name in ("a", "b", "toy"):
        tables = [load_file(f / "correlation" / f"{name}.safetensors")["r"] for f in (one, two)]
        torch.testing.assert_close(tables[1], tables[0], atol=1e-6, rtol=0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "two"]  # no folder per process
    statistics = [load_file(f / "statistics.safetensors") for f in (one, two)]
    assert statistics[1]["toy/fold/count"].tolist() == statistics[0]["toy/fold/count"].tolist()


@pytest.mark.slow
def test_processes_agree_on_a_cache_that_lacks_tables(tmp_path: Path) -> None:
    """Only the first writes them; all mine again, or one would wait for the others for ever."""
    toy_run(tmp_path, "one", "save_tables=false")
    share = ["trainer.devices=2", "trainer.strategy=ddp"]
    two = toy_run(tmp_path, "two", *share, within=False)
    again = toy_run(tmp_path, "three")
    for name in ("a", "b", "toy"):
        tables = [load_file(f / "correlation" / f"{name}.safetensors")["r"] for f in (two, again)]
        assert tables[0].equal(tables[1]) and tables[0].abs().max() > 0.5


@pytest.mark.slow
def test_sweep_over_k_runs_the_networks_once(tmp_path: Path) -> None:
    done = command(tmp_path, "--multirun", *MINE, "k=1,2,3", "hydra.sweep.dir=sweep")
    assert done.returncode == 0, done.stderr[-2000:]
    dictionaries = sorted((tmp_path / "sweep").glob("*/dictionary.json"))
    assert [json.loads(p.read_text())["k"] for p in dictionaries] == [1, 2, 3]
    assert done.stdout.count("Neighbours from the cache") == 2
    assert len(list((tmp_path / "cache" / "mining").glob("*.safetensors"))) == 1


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["gen=stylegan2_fashio"], ["stylegan2_fashio", "stylegan2_fashion"]),
        (["disc=[resnet_fashiom]"], ["resnet_fashiom", "mae_fashion"]),
        (["num_imagez=3"], ["num_imagez"]),
    ],
)
def test_misspelt_names_fail_at_once(
    tmp_path: Path, overrides: list[str], words: list[str]
) -> None:
    done = command(tmp_path, *overrides)
    assert done.returncode != 0
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_mistakes_are_told_in_two_lines(tmp_path: Path) -> None:
    done = command(tmp_path, *MINE, "k=700")
    assert done.returncode == 1
    assert "k_gen=700 does not fit" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_other_products_say_what_they_change(tmp_path: Path) -> None:
    exact = toy_run(tmp_path, "exact", "row_blocks=1")
    changes = {}
    for products in ("split", "bf16"):
        one = toy_run(tmp_path, products, f"products={products}", "row_blocks=1")
        again = toy_run(tmp_path, f"{products}_again", f"products={products}")  # from the cache
        blocks = toy_run(
            tmp_path, f"{products}_blocks", f"products={products}", "row_blocks=2", "cache=false"
        )
        told = [json.loads((x / "dictionary.json").read_text())["summary"] for x in (one, again)]
        assert told[0]["products"] == told[1]["products"]
        assert told[0]["products"]["arithmetic"] == products
        tables = {
            x: load_file(x / "correlation" / "a.safetensors")["r"] for x in (exact, one, blocks)
        }
        changes[products] = float((tables[one] - tables[exact]).abs().max())
        torch.testing.assert_close(tables[blocks], tables[one], atol=1e-6, rtol=0)
        assert told[0]["products"]["difference_of_r"]["a"] < 100 * changes[products] + 1e-6
    assert changes["split"] < 2e-6 < 2e-5 < changes["bf16"]
    assert "products" not in json.loads((exact / "dictionary.json").read_text())["summary"]
