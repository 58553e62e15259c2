"""What memory a run takes, and how it keeps to what it may take."""

from __future__ import annotations

import pytest
from planned import toy_run

from rosetta_lab.errors import RosettaError
from rosetta_lab.mine.budget import Budget, MemoryPlan, bytes_of
from rosetta_lab.mine.ranks import sampled_images, values_of
from rosetta_lab.models.load import load_latents
from rosetta_lab.models.meta import observer_without_memory, shapes_without_memory


def budget(**options) -> Budget:
    cfg = toy_run(**options)
    observer = observer_without_memory(cfg)
    latents = load_latents(cfg, observer.source.generator)
    return Budget(cfg, observer, latents, shapes_without_memory(cfg, observer))


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("12GB", 12 * 10**9), ("12gb", 12 * 10**9), ("0.5 G", 5 * 10**8), ("800M", 8 * 10**8),
     ("1TB", 10**12), (4096, 4096), ("4096", 4096), ("2GiB", 2 * 10**9)],
)  # fmt: skip
def test_sizes_in_words(text: int | str, bytes_: int) -> None:
    assert bytes_of(text, "cpu") == bytes_


@pytest.mark.parametrize("text", ["much", "", "-1GB", "0", "0GB", "12 PB", "1e9", None, [], "nan"])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(RosettaError, match=r"expected auto, or bytes such as 12GB") as error:
        bytes_of(text, "cpu")
    assert f"memory={text}" in str(error.value)


def test_automatic_is_a_share_of_what_is_free_beside_the_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rosetta_lab.mine.budget.available_memory", lambda device: 3 * 10**9)
    assert bytes_of("auto", "cpu", weights=10**9) == 16 * 10**8
    assert bytes_of("auto", "cpu", weights=4 * 10**9) == 0


def test_rows_are_all_units_once() -> None:
    found = budget()
    for passes in (1, 2, 3, 7, 10):
        rows = found.rows(passes)
        assert [unit for part in rows for unit in part] == list(range(10))
        assert len(rows) <= passes


def test_samples_that_ranks_are_taken_in_count() -> None:
    """Of every unit's values, of where its ranks change, and of the statistics of both."""
    plain, ranked = (budget(correlation=how) for how in ("pooled", "spearman"))
    units = sum(len(groups.index) for groups in ranked.groups.values())
    few = len(sampled_images(len(ranked.inputs)))
    more = ranked.needs(1, 4).sums - plain.needs(1, 4).sums
    samples = 3 * 4 * units * few * values_of(few)
    assert samples < more < samples + 10**5
    assert ranked.needs(1, 4).batch > plain.needs(1, 4).batch


@pytest.fixture
def small_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables that take nothing, as beside the sums of large models."""
    make = MemoryPlan
    monkeypatch.setattr("rosetta_lab.mine.budget.MemoryPlan", lambda *held: make(*held, 0))


@pytest.mark.usefixtures("small_bands")
def test_less_memory_takes_smaller_batches() -> None:
    found = budget(batch_size="auto")
    whole = found.way(10**9, "cpu")
    assert (whole.batch_size, len(whole.rows)) == (32, 1)
    ways = [found.way(int(share * whole.memory.peak), "cpu") for share in (1.0, 0.8, 0.6)]
    assert [way.batch_size for way in ways] == sorted((w.batch_size for w in ways), reverse=True)
    assert all(way.fits and len(way.rows) == 1 for way in ways)
    assert ways[0].batch_size == 32 > ways[-1].batch_size > 1
    larger = found.needs(1, 2 * ways[-1].batch_size)
    assert larger.peak > ways[-1].budget  # the largest that fits


@pytest.mark.usefixtures("small_bands")
def test_passes_come_where_no_batch_is_small_enough() -> None:
    """As many as it takes, and no more."""
    found = budget(batch_size="auto", num_images=2000, blocks=20)
    least = found.needs(1, 1).peak
    for share in (0.9, 0.8):
        way = found.way(int(share * least), "cpu")
        assert way.fits and len(way.rows) > 1
        assert sum(map(len, way.rows)) == 10
        assert found.needs(len(way.rows) - 1, 1).peak > way.budget
    assert not found.way(1000, "cpu").fits


@pytest.mark.parametrize("key", ["batch_size", "row_blocks"])
@pytest.mark.parametrize("value", [0, -1, "many", 1.5, None])
def test_counts_are_counts(key: str, value: object) -> None:
    with pytest.raises(RosettaError, match=f"{key}="):
        budget(**{key: value}).way(10**9, "cpu")
