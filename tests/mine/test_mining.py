"""Mining with networks whose answers are known, in this process and through the command line."""

from __future__ import annotations

import csv
import re
import time
from pathlib import Path

import pytest
import torch
from mined_toys import mine, observer, trainer
from omegaconf import OmegaConf
from reference import pooled_correlation
from toy import NaNModel, ToyModel

from rosetta_lab.data.latents import LatentDataModule, Latents
from rosetta_lab.errors import RosettaError
from rosetta_lab.mine import module as mining
from rosetta_lab.mine.module import MiningModule
from rosetta_lab.mine.null import Evidence
from rosetta_lab.mine.partial import PartialSums
from rosetta_lab.mine.pilot import pilot_run, shapes_of
from rosetta_lab.models.recording import record
from rosetta_lab.models.units import Unit, UnitIndex, resolve_layers
from rosetta_lab.run.trainer import make_trainer


def test_table_is_the_definition() -> None:
    watch = observer()
    latents = Latents(30, 0, 12)
    seen = watch(latents.batch(list(range(30))))
    expected = pooled_correlation(list(seen.maps["toy"].values()), list(seen.maps["a"].values()))
    result = mine(watch)
    torch.testing.assert_close(
        result.tables["a"].double(), torch.from_numpy(expected), atol=1e-5, rtol=0
    )


def test_averages_are_of_the_batches() -> None:
    """The published reference code's table, from a pass."""
    watch, latents = observer(), Latents(24, 0, 12)
    found = mine(watch, images=24, batch=8, evidence=Evidence("none"), correlation="batch_mean")
    tables = []
    for start in range(0, 24, 8):
        seen = watch(latents.batch(list(range(start, start + 8)))).maps
        tables.append(pooled_correlation(list(seen["toy"].values()), list(seen["a"].values())))
    expected = torch.from_numpy(sum(tables) / 3)
    torch.testing.assert_close(found.tables["a"].double(), expected, atol=1e-5, rtol=0)
    assert (found.tables["a"] - mine(watch, images=24).tables["a"]).abs().max() > 1e-3


def test_mixed_precision_ends_at_the_maps() -> None:
    """What the networks put out in bfloat16 is correlated as exactly as ever."""
    watch = observer()
    latents = Latents(30, 0, 12)
    with torch.autocast("cpu", torch.bfloat16):
        seen = watch(latents.batch(list(range(30))))
    maps = [[x.float() for x in seen.maps[name].values()] for name in ("toy", "a")]
    assert seen.maps["toy"]["late"].dtype == torch.bfloat16
    result = mine(watch, precision="bf16-mixed")
    expected = torch.from_numpy(pooled_correlation(*maps))
    torch.testing.assert_close(result.tables["a"].double(), expected, atol=1e-5, rtol=0)
    assert (result.tables["a"] - mine(watch).tables["a"]).abs().max() > 1e-4  # it did run in it


def test_planted_matches_are_recovered() -> None:
    """The model's `copy` layer shows the generator's late units 0 to 2 at another size."""
    watch = observer(a=ToyModel(12), b=ToyModel(5, seed=2))
    result = mine(watch)
    shapes = shapes_of(watch, Latents(2, 0, 12).batch([0, 1]))
    index = {name: UnitIndex(layers) for name, layers in shapes.items()}
    for channel in range(3):
        row = index["toy"].number(Unit("late", channel))
        best = int(result.tables["a"][row].argmax())
        assert index["a"][best] == Unit("copy", channel)
        assert result.tables["a"][row, best] == pytest.approx(1.0, abs=1e-5)
        best = int(result.tables["b"][row].argmax())  # 8 px shown at 5 px: close, not equal
        assert index["b"][best] == Unit("copy", channel)


def test_the_pilot_may_come_in_parts() -> None:
    watch = observer()
    pilot = Latents(7, 0, 12).batch(list(range(7)))
    whole, parts = (pilot_run(watch, pilot, size) for size in (7, 3))
    seen = watch(pilot).maps
    for name, layers in shapes_of(watch, pilot).items():
        by_hand = torch.cat([seen[name][layer.name].mean(dim=(0, 2, 3)) for layer in layers])
        assert by_hand.abs().max() > 0.1
        for means in (whole, parts):
            torch.testing.assert_close(means[name], by_hand, atol=1e-6, rtol=1e-6)


def test_nothing_is_looked_at_before_the_pass() -> None:
    watch, pilot = observer(), Latents(30, 0, 12).batch([0, 1, 2])
    shapes = shapes_of(watch, pilot)
    seen: list[int] = []
    watch.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    module = MiningModule(watch, shapes, pilot, 30)
    assert not seen and module.shapes == shapes
    assert not any(bool(groups.shift.any()) for groups in module.groups.values())
    module.trainer = trainer()
    module.setup("validate")
    assert seen == [3] and all(bool(groups.shift.any()) for groups in module.groups.values())


def test_progress_is_told_while_it_goes_on(tmp_path: Path, capfd) -> None:
    """In a file that somebody reads during the third of four batches, and in the bar."""
    watch, latents = observer(), Latents(30, 0, 12)
    pilot = latents.batch([0, 1, 2])
    module = MiningModule(watch, shapes_of(watch, pilot), pilot, 30)
    told: list[dict[str, str]] = []
    calls: list[float] = []

    def look(*_: object) -> None:
        calls.append(time.monotonic())
        if len(calls) == 4:  # the first call is the pilot
            told.extend(csv.DictReader((tmp_path / "csv" / "metrics.csv").open()))

    watch.register_forward_pre_hook(look)
    csv_logger = {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": str(tmp_path)}
    cfg = OmegaConf.create(
        {
            "logger": {"csv": csv_logger | {"name": "", "version": "csv"}},
            "trainer": {"accelerator": "cpu", "devices": 1, "enable_progress_bar": True},
        }
    )
    data = LatentDataModule(latents, 8, module.grouping)
    make_trainer(cfg, tmp_path).validate(module, data, verbose=False)
    ended = time.monotonic()
    assert [float(row["images"]) for row in told] == [8.0, 16.0]
    with (tmp_path / "csv" / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["images"]) for row in rows] == [8.0, 16.0, 24.0, 30.0]
    assert 30.0 / (ended - calls[0]) < float(rows[-1]["images_per_second"])
    assert float(rows[-1]["images_per_second"]) < 30.0 / (calls[4] - calls[1])
    kilobytes = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert kilobytes is not None
    assert float(rows[-1]["memory_gb"]) == pytest.approx(int(kilobytes[1]) * 1024 / 1e9, rel=0.05)
    assert re.search(r"4/4 .*images=30.*images_per_second=.*memory_gb=", capfd.readouterr().out)


def test_nan_names_model_layer_and_channel() -> None:
    watch = observer(a=ToyModel(), broken=NaNModel())
    with pytest.raises(RosettaError, match="broken, layer mix, channel 3"):
        mine(watch)


def test_unknown_layer_lists_what_there_is() -> None:
    with pytest.raises(RosettaError, match=r"a: no layer matches 'blocks\.\*'") as error:
        observer(a=ToyModel(layers=("blocks.*",)))
    assert "copy" in str(error.value)
    assert "mix.*" in str(error.value)


def test_layer_that_never_runs() -> None:
    with pytest.raises(RosettaError, match="'unused' ran 0 times"):
        mine(observer(a=ToyModel(layers=("unused",))))


def test_globs_stay_within_a_component() -> None:
    network = ToyModel().network
    assert resolve_layers(network, ["*"], "m") == ["copy", "mix", "unused", "head"]
    assert resolve_layers(network, ["mix.**"], "m") == ["mix.0", "mix.1"]
    assert resolve_layers(network, ["mix", "head:input"], "m") == ["mix", "head:input"]


def test_inputs_are_recorded() -> None:
    network = ToyModel().network
    with record(network, ["head:input", "mix"]) as seen:
        network(torch.rand(2, 3, 12, 12))
    torch.testing.assert_close(seen["head:input"], seen["mix"].mean(dim=(2, 3)))


def test_hooks_are_gone_after_an_exception() -> None:
    network = ToyModel().network
    with pytest.raises(ZeroDivisionError), record(network, ["copy", "mix:input"]):
        raise ZeroDivisionError
    for module in network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def another_shift(*arguments: object) -> dict[str, torch.Tensor]:
    """The pilot run of a machine that finds other means."""
    return {name: mean + 0.5 for name, mean in pilot_run(*arguments).items()}


def test_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop in the middle by an exception; the second run sees only what is missing, and goes on
    with the shift of the first."""
    expected = mine(observer())
    watch = observer()
    calls = 0

    def die_at_the_third(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 5:  # the first calls are for the shapes and the pilot
            raise KeyboardInterrupt

    handle = watch.register_forward_pre_hook(die_at_the_third)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        mine(watch, partial=PartialSums(tmp_path / "partial", minutes=0.0))
    handle.remove()

    seen = []
    watch.register_forward_pre_hook(lambda _m, inputs: seen.append(len(inputs[0])))
    monkeypatch.setattr(mining, "pilot_run", another_shift)
    partial = PartialSums(tmp_path / "partial", minutes=0.0)
    result = mine(watch, partial=partial)
    assert sum(seen) == 3 + 30 - 16  # shapes, and what two batches had not done
    torch.testing.assert_close(result.tables["a"], expected.tables["a"], atol=1e-6, rtol=0)
    partial.remove()
    assert not (tmp_path / "partial").exists()
