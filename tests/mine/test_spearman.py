"""Mining with ``correlation=spearman``, against SciPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from commands import call
from mined_toys import mine, observer, trainer
from reference import pooled_correlation
from safetensors.torch import load_file
from scipy.stats import spearmanr
from toy_runs import MINE

from rosetta_lab.data.latents import LatentDataModule, Latents
from rosetta_lab.mine.module import MiningModule
from rosetta_lab.mine.null import Evidence
from rosetta_lab.mine.partial import PartialSums
from rosetta_lab.mine.pilot import shapes_of
from rosetta_lab.mine.ranks import IMAGES, VALUES, sampled_images, take_sample, values_of

N = 30


def ranked(batch: int = 8, **how):
    return mine(observer(), images=N, batch=batch, correlation="spearman", **how)


def ranks_by_hand() -> dict[str, dict[str, torch.Tensor]]:
    """Every layer's maps, each value its share of the sample: below, and half of equal."""
    watch, latents = observer(), Latents(N, 0, 12)
    samples = take_sample(watch, latents.batch([0, 1, 2]), N)
    seen = watch(latents.batch(list(range(N)))).maps
    found: dict[str, dict[str, torch.Tensor]] = {}
    for name, layers in seen.items():
        first = 0
        for layer, maps in layers.items():
            own = samples[name][first : first + maps.shape[1]].unbind()
            first += maps.shape[1]
            columns = [
                (x[..., None] > s).double().mean(-1) / 2 + (x[..., None] >= s).double().mean(-1) / 2
                for x, s in zip(maps.unbind(dim=1), own, strict=True)
            ]
            found.setdefault(name, {})[layer] = torch.stack(columns, dim=1)
    return found


def test_tables_are_pearsons_of_ranks() -> None:
    """Of ranks of maps as they are recorded, brought to a common size after that."""
    maps = ranks_by_hand()
    result = ranked()
    for name in ("toy", "a"):
        expected = pooled_correlation(list(maps["toy"].values()), list(maps[name].values()))
        found = result.tables[name].double()
        torch.testing.assert_close(found, torch.from_numpy(expected), atol=1e-5, rtol=0)
    assert (result.tables["a"] - mine(observer(), images=N).tables["a"]).abs().max() > 0.01


def test_it_is_nearly_spearmans_of_all_values() -> None:
    """Within a layer, whose maps are of one size: from a sample of all images."""
    watch, latents = observer(), Latents(N, 0, 12)
    pilot = latents.batch(sampled_images(N))
    module = MiningModule(watch, shapes_of(watch, pilot), pilot, N, correlation="spearman")
    data = LatentDataModule(latents, 8, module.grouping)
    tables: dict[str, list[torch.Tensor]] = {}
    module.on_table = lambda name, rows: tables.setdefault(name, []).append(rows)
    trainer().validate(module, data, verbose=False)
    table, first = torch.cat(tables["toy"]), 0
    for maps in watch(latents.batch(list(range(N)))).maps["toy"].values():
        values = maps.transpose(0, 1).flatten(1).numpy()
        own = slice(first, first := first + len(values))
        exact = spearmanr(values.T).statistic
        assert np.abs(table[own, own].numpy() - exact).max() < 0.02


def test_statistics_are_of_the_activations() -> None:
    """Inversion centres and scales activations by them."""
    plain = mine(observer(), images=N)
    for name, found in ranked().statistics.items():
        for kind, values in found.items():
            expected = plain.statistics[name][kind]
            torch.testing.assert_close(values, expected, atol=1e-5, rtol=1e-5)


def test_batches_and_rows_and_a_second_start_find_the_same(tmp_path: Path) -> None:
    whole = ranked()
    units = len(whole.alive("toy"))
    rows = [ranked(batch=4, rows=part) for part in (range(5), range(5, units))]
    partial = PartialSums(tmp_path / "sums", minutes=0.0)
    ranked(partial=partial)
    assert partial.images == 24  # all but the last batch
    again = ranked(partial=PartialSums(tmp_path / "sums"))
    for name, table in whole.tables.items():
        joined = torch.cat([part.tables[name] for part in rows])
        torch.testing.assert_close(joined, table, atol=1e-6, rtol=0)
        torch.testing.assert_close(again.tables[name], table, atol=1e-6, rtol=0)


def test_matches_are_held_against_the_null_of_ranks() -> None:
    """What the mean maps of ranks explain, and not those of activations."""
    maps = {
        name: [values - values.mean(dim=0) for values in layers.values()]
        for name, layers in ranks_by_hand().items()
    }
    found = ranked(evidence=Evidence(draws=1, blocks=1)).matchings["a"].targets
    near, known = found.rows.clamp(min=0), found.rows >= 0
    expected = torch.from_numpy(pooled_correlation(maps["toy"], maps["a"])).gather(1, near)
    centred = found.scores["centred"].double()
    torch.testing.assert_close(centred[known], expected[known], atol=1e-4, rtol=0)


def test_few_images_give_as_many_values() -> None:
    for images in (1, 2, 100, IMAGES, 5 * IMAGES + 3):
        numbers = sampled_images(images)
        assert len(set(numbers)) == min(images, IMAGES) and max(numbers) < images
        assert len(numbers) * values_of(len(numbers)) >= VALUES


@pytest.mark.slow
def test_passes_of_a_run_take_ranks_in_one_sample(tmp_path: Path) -> None:
    """The first one's, however the run is parted."""
    tables = []
    for name, passes in (("one", 1), ("three", 3)):
        how = ["correlation=spearman", f"row_blocks={passes}", f"hydra.run.dir={name}"]
        done = call("mine", *MINE, *how, cwd=tmp_path, ROSETTA_CACHE=str(tmp_path / name / "cache"))
        assert done.returncode == 0, done.stderr
        tables.append(load_file(tmp_path / name / "correlation" / "a.safetensors")["r"])
    torch.testing.assert_close(*tables, atol=1e-6, rtol=0)
