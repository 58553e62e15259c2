"""Passes of some rows, and batches that do not fit: the results are the same."""

from __future__ import annotations

import re
from functools import partial as partial_of
from functools import reduce
from itertools import pairwise

import pytest
import torch
from mined_toys import mine, observer, trainer
from toy import ToyModel

from rosetta_lab.data.latents import LatentDataModule, Latents
from rosetta_lab.errors import RosettaError
from rosetta_lab.mine import module as mining
from rosetta_lab.mine.module import MiningModule, MiningResult
from rosetta_lab.mine.pilot import pilot_run, shapes_of


def test_passes_of_some_rows_find_what_one_pass_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever units a pass takes, its neighbours join to those of all; so do whole tables."""
    whole = mine(observer(), images=60, blocks=3)
    units = len(whole.alive("toy"))
    for ends in ([0, 5, units], [0, 1, 7, 8, units]):
        parts = [mine(observer(), images=60, blocks=3, rows=range(a, b)) for a, b in pairwise(ends)]
        found = reduce(partial_of(MiningResult.joined, k=32), parts)
        assert found.own.rows.equal(whole.own.rows)
        assert found.own.columns.equal(whole.own.columns)
        assert found.parts.keys() == whole.parts.keys() and len(whole.parts) > 2
        for one, other in ((found.matchings, whole.matchings), *zip(
            found.parts.values(), whole.parts.values(), strict=True
        )):  # fmt: skip
            for name, matching in one.items():
                expected = other[name]
                for x, y in zip(
                    [matching.targets, *matching.decoys],
                    [expected.targets, *expected.decoys],
                    strict=True,
                ):
                    assert x.rows.equal(y.rows) and x.columns.equal(y.columns)
                    for key, values in x.scores.items():
                        torch.testing.assert_close(values, y.scores[key], atol=1e-6, rtol=0)
        for name, table in whole.tables.items():
            joined = torch.cat([part.tables[name] for part in parts])
            torch.testing.assert_close(joined, table, atol=1e-6, rtol=0)


class Cramped(ToyModel):
    """Has memory for some images at a time, and spends it late."""

    room = 8

    def __init__(self) -> None:
        super().__init__()
        self.network.mix.register_forward_pre_hook(self.run_out)

    def run_out(self, module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if len(inputs[0]) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory.")


def test_out_of_memory_halves_the_batch_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In the middle of a run, when maps of the batch were condensed already."""
    expected = mine(observer(), images=60, batch=16)
    watch = observer(a=Cramped())
    monkeypatch.setattr(mining, "pilot_run", lambda *_: pilot_run(observer(), *_[1:]))
    for room, told in ((5, ["8", "4"]), (16, [])):
        monkeypatch.setattr(Cramped, "room", room)
        caplog.clear()
        found = mine(watch, images=60, batch=16)
        assert re.findall(r"from now on (\d+) images", caplog.text) == told
        assert found.matchings["a"].targets.rows.equal(expected.matchings["a"].targets.rows)
        for name, table in expected.tables.items():
            torch.testing.assert_close(found.tables[name], table, atol=1e-6, rtol=0)
        torch.testing.assert_close(
            found.statistics["a"]["var"], expected.statistics["a"]["var"], rtol=1e-6, atol=0
        )


def test_no_room_for_one_image_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cramped, "room", 4)
    watch, latents = observer(a=Cramped()), Latents(30, 0, 12)
    shapes, pilot = shapes_of(watch, latents.batch([0])), latents.batch([0, 1, 2])
    module = MiningModule(watch, shapes, pilot, 30, batch_size=8)
    data = LatentDataModule(latents, 8, module.grouping)
    module.found = {name: units.shift for name, units in module.groups.items()}
    monkeypatch.setattr(Cramped, "room", 0)
    with pytest.raises(RosettaError, match="does not suffice for 1 images at a time"):
        trainer().validate(module, data, verbose=False)
