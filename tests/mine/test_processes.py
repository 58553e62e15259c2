"""One to four processes find the same, whoever starts them; the first decides."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from apart import (
    another_shift_and_no_end,
    end_at_the_third_batch,
    start,
    sums_of_every_batch,
    warm_up,
)
from cases import first
from safetensors.torch import load_file
from toy_runs import MINE

QUIET = "trainer.enable_progress_bar=false"
SHARED = (*MINE, "num_images=31", "max_fdr=1", QUIET)


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def torchrun(rank: int, world: int, port: str) -> dict[str, str]:
    """What torchrun tells a process."""
    return {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world), "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "none",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
    }  # fmt: skip


def slurm(rank: int, world: int, port: str) -> dict[str, str]:
    """What SLURM tells a task of a job on one node."""
    return {
        "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "mining", "SLURM_NTASKS": str(world),
        "SLURM_NTASKS_PER_NODE": str(world), "SLURM_JOB_NUM_NODES": "1", "SLURM_NODEID": "0",
        "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_NODELIST": "127.0.0.1",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
    }  # fmt: skip


def run(folder: Path, world: int, *arguments: str, scheduler=torchrun, **of_rank) -> list[str]:
    """Mine in several processes; what each says, none of which waits for the others for ever.

    Args:
        folder: to run in.
        world: how many there are.
        arguments: beside the usual.
        scheduler: that starts them.
        of_rank: variables of the environment, each by rank.
    """
    folder.mkdir(exist_ok=True)
    port = free_port()
    how = () if world == 1 else ("trainer.strategy=ddp", f"trainer.devices={world}")
    processes = [
        start(
            *("mine", *SHARED, *how, *arguments),
            cwd=folder,
            before=sums_of_every_batch,
            said=folder / f"said_{rank}",
            **(scheduler(rank, world, port) if world > 1 else {}),
            **({"ROSETTA_CACHE": str(folder / "cache")} | {k: v[rank] for k, v in of_rank.items()}),
        )
        for rank in range(world)
    ]
    for process in processes:
        process.join(180)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    said = [(folder / f"said_{rank}").read_text() for rank in range(world)]
    assert codes.count(codes[0]) == len(codes) and codes[0] in (0, 1), (codes, said)
    return said if codes[0] == 0 else [f"failed {text}" for text in said]


def found(folder: Path) -> tuple[list[object], dict[str, torch.Tensor]]:
    """Neurons and concepts, without figures that rounding touches, and every table."""
    (place,) = folder.glob("outputs/mine/*") if not (folder / "run").exists() else [folder / "run"]
    mined = json.loads((place / "dictionary.json").read_text())
    units = [
        [neuron["generator"], {k: [[m["layer"], m["channel"]] for m in v]
         for k, v in neuron["matches"].items()}, neuron["concept"]]
        for neuron in mined["neurons"]
    ]  # fmt: skip
    assert units
    tables = {p.stem: load_file(p)["r"] for p in (place / "correlation").iterdir()}
    return [units, [c["neurons"] for c in mined["concepts"]]], tables


def run_to_death(
    folder: Path, caches: list[str], before: Callable[[], object], *arguments: str
) -> None:
    """Mine in two processes, each with a cache of its own, that ``before`` has end early."""
    port = free_port()
    processes = [
        start(
            *("mine", *SHARED, "trainer.strategy=ddp", "trainer.devices=2", *arguments),
            cwd=folder,
            before=before,
            **torchrun(rank, 2, port),
            ROSETTA_CACHE=cache,
        )
        for rank, cache in enumerate(caches)
    ]
    for process in processes:
        process.join(180)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process."""
    warm_up()
    folder = tmp_path_factory.mktemp("alone")
    assert "failed" not in run(folder, 1)[0]
    return folder


def check_same(folder: Path, alone: Path, atol: float = 1e-6) -> None:
    (units, tables), (expected, whole) = found(folder), found(alone)
    assert units == expected
    assert tables.keys() == whole.keys() and len(tables) == 3
    for name, table in tables.items():
        torch.testing.assert_close(table, whole[name], atol=atol, rtol=0)


@pytest.mark.parametrize("world", first(1, [2, 3, 4]))
def test_processes_find_the_same(world: int, alone: Path, tmp_path: Path) -> None:
    said = run(tmp_path, world, "row_blocks=2" if world == 2 else "row_blocks=auto")
    assert "Look at it" in said[0] and not any("Look at it" in text for text in said[1:])
    check_same(tmp_path, alone)
    assert [p.suffix for p in (tmp_path / "cache/mining").glob("*.partial*")] == []


def check_neighbours(folder: Path, alone: Path) -> None:
    """The kept lists, nulls and parts among them, are the same; their r to 1e-6."""
    (kept,), (whole,) = ((f / "cache/mining").glob("*.safetensors") for f in (folder, alone))
    found, expected = load_file(kept), load_file(whole)
    assert found.keys() == expected.keys() and any("score" in name for name in found)
    for name, value in expected.items():
        if value.is_floating_point():
            torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-6)
        else:
            assert found[name].equal(value), name


@pytest.mark.parametrize(("world", "passes"), first(1, [(2, "auto"), (3, "6"), (4, "5")]))
def test_processes_that_share_the_tables_out(
    world: int, passes: str, alone: Path, tmp_path: Path
) -> None:
    """Each has some rows of them, in as many passes as there are blocks for all."""
    said = run(tmp_path, world, "tables=sharded", "save_tables=false", f"row_blocks={passes}")
    assert f"whose tables {world} processes share out" in said[0]
    assert ("2 passes" in said[0]) == (passes != "auto")
    check_neighbours(tmp_path, alone)
    assert [p for p in (tmp_path / "cache/mining").iterdir() if p.is_dir()] == []


@pytest.mark.slow
@pytest.mark.parametrize("kept", [(0, 1), (0,), (1,), ()])
def test_shared_tables_are_gone_on_with(kept: tuple[int, ...], alone: Path, tmp_path: Path) -> None:
    """All processes are killed; each has its sums still, or none is taken for another's."""
    caches = [str(tmp_path / f"cache_{rank}") for rank in range(2)]
    words = ["tables=sharded", "save_tables=false", "logger=[csv]"]
    run_to_death(tmp_path, caches, end_at_the_third_batch, *words)
    for rank, cache in enumerate(caches):
        (left,) = Path(cache).rglob(f"rank-{rank}-of-2.safetensors")
        if rank not in kept:
            shutil.rmtree(left.parent)
    run(tmp_path / "after", 2, *words, "hydra.run.dir=run", ROSETTA_CACHE=caches)
    (tmp_path / "after/cache").symlink_to(caches[0])
    check_neighbours(tmp_path / "after", alone)
    seen = (tmp_path / "after/run/csv/metrics.csv").read_text().splitlines()
    place = seen[0].split(",").index("images")
    first_seen = float(next(row.split(",")[place] for row in seen[1:] if row.split(",")[place]))
    assert (first_seen > 8) == (len(kept) == 2), seen


def test_tables_that_cannot_be_shared_out(tmp_path: Path) -> None:
    said = run(tmp_path, 2, "tables=sharded", "save_tables=true")
    assert "tables=sharded: no process has a whole table to write" in said[0]
    said = run(tmp_path, 1, "tables=shared")
    assert "tables=shared: there is no such choice.\nChoose from replicated," in said[0]


@pytest.mark.slow
def test_processes_take_ranks_in_one_sample(tmp_path: Path) -> None:
    """The first one's; four processes find what one does, in passes of some units, too."""
    for world, how in ((1, "auto"), (2, "2"), (4, "auto")):
        (tmp_path / str(world)).mkdir()
        said = run(tmp_path / str(world), world, "correlation=spearman", f"row_blocks={how}")
        assert "failed" not in said[0]
        check_same(tmp_path / str(world), tmp_path / "1")


def test_tasks_of_a_slurm_job(alone: Path, tmp_path: Path) -> None:
    """With the numbers that SLURM tells in the place of the config's."""
    how = ["trainer=slurm", "trainer.accelerator=cpu"]
    words = [word for word in SHARED if not word.startswith("trainer.acc")]
    port = free_port()
    processes = [
        start(
            *("mine", *words, *how),
            cwd=tmp_path,
            said=tmp_path / f"said_{rank}",
            **slurm(rank, 2, port),
            ROSETTA_CACHE=str(tmp_path / "cache"),
        )
        for rank in range(2)
    ]
    for process in processes:
        process.join(180)
    assert [process.exitcode for process in processes] == [0, 0]
    check_same(tmp_path, alone)


def test_the_first_decides_what_is_cached(alone: Path, tmp_path: Path) -> None:
    """Whichever process sees a finished result, on a disk of its own."""
    for place, hit in (([alone / "cache", tmp_path / "none"], True),
                       ([tmp_path / "new", alone / "cache"], False)):  # fmt: skip
        folder = tmp_path / str(hit)
        said = run(folder, 2, "hydra.run.dir=run", ROSETTA_CACHE=list(map(str, place)))
        assert ("from the cache" in said[0]) == hit and "from the cache" not in said[1]
        check_same(folder, alone)


def test_a_budget_that_one_does_not_keep(tmp_path: Path) -> None:
    """All end, and one says why."""
    said = run(tmp_path, 2, "memory=1KB")
    assert "memory=1KB" in said[0] and "at least" in said[0]
    assert "memory" not in said[1].replace("RANDOM", "")


def test_more_processes_than_images(tmp_path: Path) -> None:
    said = run(tmp_path, 3, "num_images=2", "null=none", "k=1")
    assert "num_images: there is too little for 3 processes" in said[0]


@pytest.mark.slow
@pytest.mark.parametrize("kept", [0, 1])
def test_sums_that_only_one_process_has(kept: int, alone: Path, tmp_path: Path) -> None:
    """All go on with the shift that these began with: sums of two shifts do not add up."""
    caches = [str(tmp_path / f"cache_{rank}") for rank in range(2)]
    run_to_death(tmp_path, caches, another_shift_and_no_end)
    left = [next(Path(cache).rglob("rank-*-of-2.safetensors")) for cache in caches]
    shutil.rmtree(left[1 - kept].parent)
    run(tmp_path / "after", 2, ROSETTA_CACHE=caches)
    # Products are float32, of another shift: r is as near as is promised, and near ties may turn.
    (_, tables), (_, whole) = found(tmp_path / "after"), found(alone)
    assert tables.keys() == whole.keys() and len(tables) == 3
    for name, table in tables.items():
        torch.testing.assert_close(table, whole[name], atol=1e-5, rtol=0)


@pytest.mark.slow
def test_processes_that_torchrun_starts(alone: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "3"),
        *("-m", "rosetta_lab.mine", *SHARED, "trainer=ddp", "trainer.devices=3"),
    ]
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {"PYTHONPATH": os.pathsep.join(paths), "ROSETTA_CACHE": str(tmp_path / "cache")}
    subprocess.run(command, cwd=tmp_path, env=os.environ | environment, check=True, timeout=500)
    check_same(tmp_path, alone)
