"""Maps that are kept from pass to pass: read instead of made, and never wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from commands import call
from mined_toys import observer
from safetensors.torch import load_file
from torch import Tensor
from toy_runs import MINE

from rosetta_lab.data.latents import Latents
from rosetta_lab.mine.maps import KeptMaps, room_for
from rosetta_lab.models.observer import Observer

Maps = dict[tuple[str, str], Tensor]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The images that networks were asked for, batch by batch."""
    images: list[list[int]] = []
    look = Observer.forward

    def forward(self, batch, on_map=None):
        images.append(batch.index.tolist())
        return look(self, batch, on_map)

    monkeypatch.setattr(Observer, "forward", forward)
    return images


def shown(show, *indices: int) -> Maps:
    maps: Maps = {}
    show(
        Latents(30, 0, 12).batch(indices), lambda model, layer, x: maps.update({(model, layer): x})
    )
    return maps


def test_what_is_remembered_is_what_was_seen(tmp_path: Path, asked: list[list[int]]) -> None:
    watch = observer()
    expected = shown(watch, 0, 1), shown(watch, 2, 3)
    asked.clear()
    for _ in range(2):  # another process, later
        show = KeptMaps(watch, tmp_path / "maps", 10**9)
        for _ in range(2):
            for maps, indices in zip(expected, ((0, 1), (2, 3)), strict=True):
                found = shown(show, *indices)
                assert found.keys() == maps.keys()
                assert all(found[key].equal(value) for key, value in maps.items())
    assert asked == [[0, 1], [2, 3]]
    shown(show, 0)  # of a batch of other images nothing is remembered
    assert asked[2:] == [[0]]


def test_the_disk_has_room_for_some(tmp_path: Path, asked: list[list[int]]) -> None:
    watch = observer()
    batch = sum(x.nbytes for x in shown(watch, 0, 1).values())
    asked.clear()
    for _ in range(2):
        show = KeptMaps(watch, tmp_path / "maps", int(1.9 * batch))
        for indices in ((0, 1), (2, 3), (4, 5)):
            shown(show, *indices)
    assert asked == [[0, 1], [2, 3], [4, 5], [2, 3], [4, 5]]
    used = sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors"))
    assert used < 1.9 * batch and len(list((tmp_path / "maps").iterdir())) == 1


@pytest.mark.parametrize("fault", ["flipped", "cut", "missing", "another"])
def test_what_is_damaged_is_made_again(
    tmp_path: Path, asked: list[list[int]], fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    show = KeptMaps(observer(), tmp_path / "maps", 10**9)
    expected = shown(show, 0, 1)
    first, *_, last = sorted(tmp_path.rglob("*.safetensors"))
    if fault == "flipped":
        content = bytearray(last.read_bytes())
        content[-3] ^= 4
        last.write_bytes(content)
    elif fault == "cut":
        last.write_bytes(last.read_bytes()[:-1])
    elif fault == "missing":
        last.unlink()
    else:  # a layer of other images, or of another model
        last.write_bytes(first.read_bytes())
    found = shown(show, 0, 1)
    assert asked == [[0, 1], [0, 1]] and "Looking at images again" in caplog.text
    assert all(found[key].equal(value) for key, value in expected.items())
    shown(show, 0, 1)
    assert len(asked) == 2  # the new ones are whole


def test_a_disk_that_takes_nothing_changes_nothing(
    tmp_path: Path, asked: list[list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "maps").write_text("no folder")
    show = KeptMaps(observer(), tmp_path / "maps", 10**9)
    assert shown(show, 0, 1).keys() == shown(show, 0, 1).keys()
    assert len(asked) == 2 and "Later passes look" in caplog.text


def test_how_much_is_kept(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    assert room_for("3GB", tmp_path, cpu, 2) == 15 * 10**8
    assert room_for(0, tmp_path, cpu, 1) == 0
    assert room_for("auto", tmp_path, torch.device("cuda"), 1) == 0
    assert 2 * room_for("auto", tmp_path / "later/on", cpu, 2) == pytest.approx(
        room_for("auto", tmp_path, cpu, 1), rel=0.01
    )


def test_networks_run_in_the_first_pass_alone(tmp_path: Path, asked: list[list[int]]) -> None:
    """The pilot's images among them; the tables are the same to the last bit, no maps stay."""
    tables, times = [], []
    for name, *options in (["one", "disk=0", "cache=false"], ["two"], ["three", "disk=100KB"]):
        asked.clear()
        cache = str(tmp_path / name / "cache")
        passes = ["row_blocks=3", "batch_size=8", f"hydra.run.dir={name}"]
        done = call("mine", *MINE, *passes, *options, cwd=tmp_path, ROSETTA_CACHE=cache)
        assert done.returncode == 0, done.stderr[-2000:]
        assert not list(Path(cache).rglob("*.maps"))
        times.append(len(asked))
        tables.append(load_file(tmp_path / name / "correlation" / "a.safetensors")["r"])
    assert tables[0].equal(tables[1]) and tables[0].equal(tables[2]) and tables[0].abs().max() > 0.5
    # Of two passes each of the three batches and the rest, and the pilot's two.
    assert times[0] - times[1] == 10 and times[1] < times[2] < times[0]
