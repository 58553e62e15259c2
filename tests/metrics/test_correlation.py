"""The adjoint method against a float64 reference that really upsamples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import first
from reference import pooled_correlation
from scipy import stats

from rosetta_lab.functional.condense import TILE, condense
from rosetta_lab.functional.products import Products
from rosetta_lab.functional.resize import interpolation_matrix, touched
from rosetta_lab.metrics.activations import ActivationBatch, UnitGroups
from rosetta_lab.metrics.correlation import BatchMeanCorrelation, CorrelationTable
from rosetta_lab.metrics.statistics import UnitStatistics
from rosetta_lab.models.units import Layer

SIZES = [(1, 1), (4, 4), (7, 7), (5, 9), (14, 3), (16, 16)]


def make(
    sizes: list[tuple[int, int]], images: int, channels: int, seed: int, offset: float = 0.0
) -> tuple[dict[str, torch.Tensor], list[Layer]]:
    """Smooth random maps with a common cause, so that correlations are not all near zero."""
    source = torch.Generator().manual_seed(seed)
    cause = torch.randn(images, 1, 6, 6, generator=torch.Generator().manual_seed(99))
    maps, layers = {}, []
    for number, size in enumerate(sizes):
        common = F.interpolate(cause, size=size, mode="bilinear")
        noise = torch.randn(images, channels, *size, generator=source)
        weight = torch.randn(1, channels, 1, 1, generator=source)
        maps[f"layer{number}"] = weight * common + noise + offset
        layers.append(Layer(f"layer{number}", channels, *size))
    return maps, layers


def groups(maps: dict[str, torch.Tensor], layers: list[Layer], pilot: int = 4) -> UnitGroups:
    means = [maps[x.name][:pilot].double().mean(dim=(0, 2, 3)) for x in layers]
    return UnitGroups(layers, torch.cat(means).float())


def table(a, layers_a, b, layers_b, batch: int, kind=CorrelationTable) -> torch.Tensor:
    rows, columns = groups(a, layers_a), groups(b, layers_b)
    metric = kind(rows, columns)
    images = len(next(iter(a.values())))
    for start in range(0, images, batch):
        part = slice(start, start + batch)
        metric.update(
            ActivationBatch(rows, {name: maps[part] for name, maps in a.items()}, [columns]),
            ActivationBatch(columns, {name: maps[part] for name, maps in b.items()}, [rows]),
        )
    return metric.compute()


@pytest.mark.parametrize("source", [1, 3, 4, 7])
@pytest.mark.parametrize("target", [7, 8, 20])
def test_matrix_is_torch_interpolation(source: int, target: int) -> None:
    signal = torch.randn(2, 3, source, dtype=torch.float64)
    expected = F.interpolate(signal, size=target, mode="linear", align_corners=False)
    matrix = interpolation_matrix(source, target)
    torch.testing.assert_close(signal @ matrix.t(), expected)
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(target, dtype=torch.float64))


LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("limit", [1, 100, 1000, 10**6])  # one row, some rows, some images, all
@pytest.mark.parametrize("size", [(12, 10), (5, 20), (1, 3)])
def test_condensing_in_tiles(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], limit: int, layout: str
) -> None:
    monkeypatch.setitem(TILE, "cpu", limit)
    maps = torch.randn(3, 4, *size).to(memory_format=LAYOUTS[layout])
    shift = torch.randn(4)
    grids = [(h, w) for h in (1, 2, 5, size[0]) for w in (2, size[1]) if h <= size[0]]
    targets = [size, (size[0], size[1] + 3), (2 * size[0] + 1, size[1]), (31, 33)]
    reduced, sums, total = condense(maps, shift, grids, targets, total=True)

    shifted = (maps - shift[:, None, None]).double()
    expected = shifted.sum(dim=0).permute(1, 2, 0)
    torch.testing.assert_close(total.double(), expected, rtol=1e-5, atol=1e-5)
    for grid, result in zip(grids, reduced, strict=True):
        small = torch.randn(3, 4, *grid, dtype=torch.float64)
        up = F.interpolate(small, size=size, mode="bilinear", align_corners=False)
        inner = (result.double() * small.permute(0, 2, 3, 1)).sum()
        torch.testing.assert_close(inner, (shifted * up).sum(), rtol=1e-5, atol=1e-4)
    for place, target in enumerate(targets):
        up = F.interpolate(shifted, size=target, mode="bilinear", align_corners=False)
        expected = torch.stack([up.sum(dim=(0, 2, 3)), up.square().sum(dim=(0, 2, 3))])
        torch.testing.assert_close(sums[:, place], expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("source", [7, 8, 20, 256])
@pytest.mark.parametrize("grid", [1, 3, 7])
def test_a_band_takes_part_in_the_rows_that_the_matrix_shows(source: int, grid: int) -> None:
    matrix = interpolation_matrix(grid, source)
    for start in range(0, source, 3):
        low, high = touched(grid, source, start, start + 3)
        outside = torch.ones(grid, dtype=torch.bool)
        outside[low:high] = False
        assert not matrix[start : start + 3, outside].any()
        assert high - low <= 3 + 2  # or nothing would be gained


@pytest.mark.parametrize("offset", [0.0, 1000.0], ids=["centred", "mean/std of 1000"])
def test_table_against_real_upsampling(offset: float) -> None:
    a, layers_a = make(SIZES, images=20, channels=3, seed=1, offset=offset)
    b, layers_b = make([(14, 14), (4, 4), (6, 11)], images=20, channels=4, seed=2, offset=offset)
    expected = pooled_correlation(list(a.values()), list(b.values()))
    result = table(a, layers_a, b, layers_b, batch=7).numpy()
    assert np.abs(expected).max() > 0.5  # the test would see a wrong table
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_table_against_scipy_at_one_size() -> None:
    a, layers_a = make([(3, 3)], 10, 2, seed=3)
    b, layers_b = make([(3, 3)], 10, 2, seed=4)
    expected = stats.pearsonr(
        a["layer0"][:, 1].flatten().double(), b["layer0"][:, 0].flatten().double()
    ).statistic
    assert table(a, layers_a, b, layers_b, 4)[1, 0].item() == pytest.approx(expected, abs=1e-6)


def test_symmetric_table_is_the_table() -> None:
    maps, layers = make(SIZES, 9, 2, seed=5)
    own = groups(maps, layers)
    half, whole = CorrelationTable(own, own), CorrelationTable(own, groups(maps, layers))
    batch = ActivationBatch(own, maps, [own])
    half.update(batch, batch)
    whole.update(batch, batch)
    assert len(half.blocks) < len(whole.blocks)
    torch.testing.assert_close(half.compute(), whole.compute(), atol=1e-6, rtol=0)
    torch.testing.assert_close(half.compute().diagonal(), torch.ones(len(own.index)))


def test_batch_size_does_not_matter() -> None:
    a, layers_a = make(SIZES, 40, 3, seed=6, offset=10.0)
    b, layers_b = make([(8, 8), (3, 5)], 40, 3, seed=7, offset=-5.0)
    tables = [table(a, layers_a, b, layers_b, batch) for batch in (1, 7, 32)]
    for other in tables[1:]:
        torch.testing.assert_close(other, tables[0], atol=1e-6, rtol=0)


def test_constant_units_correlate_with_nothing() -> None:
    a, layers_a = make([(4, 4)], 12, 3, seed=8)
    b, layers_b = make([(8, 8)], 12, 3, seed=9)
    a["layer0"][:, 1] = 0.1  # not a binary fraction: rounding must not pass for a response
    b["layer0"][:, 2] = 123.456
    result = table(a, layers_a, b, layers_b, 5)
    assert result[1].abs().max() == 0
    assert result[:, 2].abs().max() == 0
    assert result[0, 0].abs() > 0


def test_unit_constant_only_in_the_pilot_is_alive() -> None:
    a, layers_a = make([(4, 4)], 12, 2, seed=10)
    a["layer0"][:6, 0] = 3.0
    expected = pooled_correlation([a["layer0"]], [a["layer0"]])
    result = table(a, layers_a, a, layers_a, 3)
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-5)


def test_statistics() -> None:
    maps, layers = make(SIZES, 15, 2, seed=11, offset=50.0)
    maps["layer2"][:, 0] = 0.3
    own = groups(maps, layers)
    metric = UnitStatistics(own)
    for start in range(0, 15, 4):
        part = {k: v[start : start + 4] for k, v in maps.items()}
        metric.update(ActivationBatch(own, part, [own]))
    result = metric.compute()
    flat = [maps[x.name][:, c].double() for x in layers for c in range(x.channels)]
    np.testing.assert_allclose(result["mean"], [x.mean() for x in flat], rtol=1e-6)
    expected = np.array([x.var(unbiased=False) for x in flat])
    np.testing.assert_allclose(result["var"], expected, rtol=1e-5, atol=1e-12)
    assert result["var"][own.index.units("layer2").start] == 0
    assert result["count"].tolist() == [x.numel() for x in flat]


def test_batch_mean_is_the_mean_of_batch_tables() -> None:
    a, layers_a = make([(4, 4), (8, 8)], 12, 2, seed=12)
    b, layers_b = make([(6, 6)], 12, 2, seed=13)
    result = table(a, layers_a, b, layers_b, 4, kind=BatchMeanCorrelation)
    parts = [
        pooled_correlation([m[s : s + 4] for m in a.values()], [m[s : s + 4] for m in b.values()])
        for s in (0, 4, 8)
    ]
    np.testing.assert_allclose(result.numpy(), np.mean(parts, axis=0), atol=1e-5)
    pooled = table(a, layers_a, b, layers_b, 4)
    assert (result - pooled).abs().max() > 1e-3  # it really is another number


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_autocast_changes_no_number(dtype: torch.dtype) -> None:
    """Networks may run in half precision; sums of what they put out may not."""
    a, layers_a = make(SIZES, images=8, channels=3, seed=14)
    b, layers_b = make([(6, 11)], images=8, channels=4, seed=15)
    a, b = ({name: x.to(dtype) for name, x in maps.items()} for maps in (a, b))
    expected = table(a, layers_a, b, layers_b, batch=4)
    with torch.autocast("cpu", dtype):
        assert torch.equal(table(a, layers_a, b, layers_b, batch=4), expected)
    up = [[x.float() for x in maps.values()] for maps in (a, b)]
    np.testing.assert_allclose(expected.numpy(), pooled_correlation(*up), atol=1e-5)


@pytest.mark.parametrize("arithmetic", ["split", "bf16"])
def test_rounding_is_what_it_changes(arithmetic: Products) -> None:
    a, layers_a = make(SIZES, 6, 3, seed=6, offset=10.0)
    b, layers_b = make([(8, 8), (3, 5)], 6, 3, seed=7, offset=-5.0)
    rows, columns = groups(a, layers_a), groups(b, layers_b)
    metric = CorrelationTable(rows, columns, products=arithmetic)
    metric.update(ActivationBatch(rows, a, [columns]), ActivationBatch(columns, b, [rows]))
    exact = torch.from_numpy(pooled_correlation([*a.values()], [*b.values()]))
    change = (metric.compute() - exact).abs().max()
    most, batches = metric.rounding.tolist()
    assert batches == 1.0
    assert most == pytest.approx(float(change), rel=0.2, abs=1.5e-7)
    assert (1e-8 < most < 3e-6) if arithmetic == "split" else (1e-5 < most < 1e-2)


@pytest.mark.parametrize("units", first(1, [8, 40]))
def test_sums_of_fifty_thousand_images_in_float32(units: int) -> None:
    """1,563 batches are added, of units whose mean is up to 1,000 times their spread."""
    images, batch, channels, size = 50_000, 32, units, (2, 2)
    source = torch.Generator().manual_seed(3)
    means = torch.tensor([0.0, 1.0, -10.0, 100.0, 300.0, -700.0, 1000.0, 1000.0]).repeat(units // 8)
    layers = [Layer("layer", channels, *size)]
    cause = torch.randn(images, 1, *size, generator=source)
    maps = [
        torch.randn(images, channels, *size, generator=source)
        + means[:, None, None]
        + weight * cause
        for weight in (0.5, 1.0)
    ]
    pilot = [UnitGroups(layers, x[:16].double().mean(dim=(0, 2, 3)).float()) for x in maps]
    metrics = {
        kind: CorrelationTable(*pilot, dtype=kind) for kind in (torch.float32, torch.float64)
    }
    for start in range(0, images, batch):
        parts = [
            ActivationBatch(own, {"layer": x[start : start + batch]}, [other])
            for own, other, x in zip(pilot, pilot[::-1], maps, strict=True)
        ]
        for metric in metrics.values():
            metric.update(*parts)
    flat = [x.double().transpose(0, 1).flatten(1).numpy() for x in maps]
    exact = torch.from_numpy(np.corrcoef(*flat)[:channels, channels:])
    assert exact.abs().max() > 0.3
    found = {
        kind: (metric.compute().double() - exact).abs().max() for kind, metric in metrics.items()
    }
    assert found[torch.float64] < 2e-7
    assert found[torch.float32] < 2e-6
