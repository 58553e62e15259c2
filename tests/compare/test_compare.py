"""Comparing runs: intervals, names, gains, tables, the collected sweep, the page."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from inversion_fixtures import HOSTILE_ID, write_run
from omegaconf import OmegaConf
from PIL import Image

from rosetta_lab.compare.comparison import compare
from rosetta_lab.compare.report import compare_runs
from rosetta_lab.compare.runs import find_baselines, read_arms, run_folders
from rosetta_lab.compare.sweep import CollectSweep
from rosetta_lab.compare.tables import comparison_text
from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.bootstrap import bootstrap_means
from rosetta_lab.invert.figures import figure

IDS = [HOSTILE_ID, *(f"{place:05d}_coat" for place in range(1, 12))]


def sweep(folder: Path) -> Path:
    """Three runs; with matches PSNR rises on all images but one, and the distance falls."""
    arms = {"none": 0.0, "dino_vit": 0.5, "all": 1.0}
    for number, (matches, gain) in enumerate(arms.items()):

        def figures(place: int, gain: float = gain) -> dict[str, float]:
            up = -gain if place == 3 else gain * (1 + place % 3)
            return {"psnr": 20.0 + place + up, "ssim": 0.5, "lpips": 0.3 - 0.1 * gain}

        overrides = [f"matches={matches}", "steps=5", f"logger=[{'csv' if number else 'wandb'}]"]
        write_run(folder / str(number), IDS, figures, overrides, matches=matches)
    return folder


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sweep(tmp_path_factory.mktemp("sweep"))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_bootstrap_agrees_with_brute_force() -> None:
    random = np.random.default_rng(5)
    values = random.gamma(2.0, size=(60, 3)) * [1.0, 10.0, 0.1]
    ours = bootstrap_means(torch.from_numpy(values), 10_000, 0.9, seed=1)
    for column in range(3):
        drawn = [random.choice(values[:, column], size=60).mean() for _ in range(10_000)]
        # The interval's ends are quantiles of random draws: they differ by a few hundredths of it.
        tolerance = 0.15 * np.std(drawn)
        assert float(ours.low[column]) == pytest.approx(np.quantile(drawn, 0.05), abs=tolerance)
        assert float(ours.high[column]) == pytest.approx(np.quantile(drawn, 0.95), abs=tolerance)
        assert float(ours.mean[column]) == pytest.approx(values[:, column].mean())


def test_bootstrap_is_seeded_paired_and_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    random = torch.Generator().manual_seed(0)
    a = torch.randn(40, 1, generator=random, dtype=torch.float64)
    columns = torch.cat([a, 5.0 * torch.randn(40, 1, generator=random).double(), a], dim=1)
    whole = bootstrap_means(columns, 500, seed=3)
    assert not torch.equal(whole.low, bootstrap_means(columns, 500, seed=4).low)
    # All columns share the drawn rows: equal ones have equal intervals, whatever stands beside
    # them, and a constant gain has none.
    alone = bootstrap_means(a, 500, seed=3)
    assert float(whole.low[2]) == float(whole.low[0]) == pytest.approx(float(alone.low[0]))
    paired = bootstrap_means((columns[:, 1:] + 2.0) - columns[:, 1:], 500)
    assert float(paired.low[0]) == pytest.approx(2.0)
    assert float(paired.high[0]) == pytest.approx(2.0)
    monkeypatch.setattr("rosetta_lab.functional.bootstrap._AT_A_TIME", columns.numel() * 7)
    pieces = bootstrap_means(columns, 500, seed=3)
    assert torch.allclose(pieces.low, whole.low) and torch.allclose(pieces.high, whole.high)


def test_bootstrap_of_a_single_row() -> None:
    only = bootstrap_means(torch.tensor([[1.0, 2.0]]), 100)
    assert all(end.tolist() == [1.0, 2.0] for end in only)


def test_arms_are_named_by_what_differs(swept: Path, tmp_path: Path) -> None:
    arms = read_arms([swept])
    assert [arm.name for arm in arms] == ["none", "dino_vit", "all"]  # not by steps, not by logger
    assert [arm.parameters for arm in arms] == [{"matches": arm.name} for arm in arms]
    assert find_baselines(arms) == [0, 0, 0]
    assert find_baselines(arms, "all") == [2, 2, 2]
    assert find_baselines(arms, "1") == [1, 1, 1]  # its folder's name
    with pytest.raises(RosettaError, match=r"no such run.*\n.*'none', 'dino_vit', 'all'"):
        find_baselines(arms, "clip")

    def psnr(place: int) -> dict[str, float]:
        return {"psnr": float(place)}

    two = [["matches=all", "alpha=0.5"], ["matches=all"], ["matches=none", "alpha=0.5"]]
    for place, words in enumerate(two):
        matches = words[0].removeprefix("matches=")
        write_run(tmp_path / f"r{place}", IDS[1:4], psnr, words, matches=matches)
    write_run(tmp_path / "r3", IDS[1:4], psnr, two[2], matches="none")
    names = [arm.name for arm in read_arms([tmp_path])]
    assert names[:2] == ["matches=all alpha=0.5", "matches=all alpha=0.1"]  # 0.1 by its config
    assert names[2:] == ["matches=none alpha=0.5 r2", "matches=none alpha=0.5 r3"]


def test_an_arms_name_goes_before_anothers_folder(tmp_path: Path) -> None:
    for number, k in enumerate((5, 3, 1)):
        write_run(tmp_path / str(number), IDS[1:3], lambda place: {"psnr": 1.0}, [f"k={k}"])
    assert find_baselines(read_arms([tmp_path]), "1") == [2, 2, 2]


def test_runs_without_matches_are_compared_with_the_first(tmp_path: Path) -> None:
    for number, alpha in enumerate((0.1, 0.2, 0.3)):
        write_run(
            tmp_path / str(number), IDS[1:3], lambda _, n=number: {"psnr": float(n)},
            [f"alpha={alpha}"], matches="none",
        )  # fmt: skip
    comparison = compare_runs(tmp_path / "out", [tmp_path], resamples=10)
    assert comparison.baselines == [0, 0, 0]
    assert [row.gain for row in comparison.rows if row.figure.name == "psnr"] == [None, 1.0, 2.0]


def test_gains_are_over_the_plain_run_that_shares_the_rest(tmp_path: Path) -> None:
    """From a random start, say, over the run without matches from the same random start."""
    runs = [("none", "mean", 20.0), ("all", "mean", 23.0), ("none", "random", 10.0),
            ("all", "random", 14.0), ("all", "file", 30.0)]  # fmt: skip
    for number, (matches, start, psnr) in enumerate(runs):
        words = [f"matches={matches}", f"start={start}"]
        write_run(
            tmp_path / str(number), IDS[1:4], lambda _, psnr=psnr: {"psnr": psnr}, words,
            matches=matches, start=start,
        )  # fmt: skip
    comparison = compare_runs(tmp_path / "out", [tmp_path], resamples=10)
    assert comparison.baselines == [0, 0, 2, 2, 0]  # nothing plain began with a file
    assert [[arm.folder.name for arm in group] for group in comparison.groups] == [
        ["0", "1", "4"], ["2", "3"],
    ]  # fmt: skip
    gains = [row.gain for row in comparison.rows if row.figure.name == "psnr"]
    assert gains == [None, 3.0, None, 4.0, 10.0]
    page = (tmp_path / "out" / "index.html").read_text()
    assert '"baselines":[0,0,2,2,0]' in page
    assert "<b>matches=none start=mean</b> and <b>matches=none start=random</b>" in page


def test_sweeps_of_more_than_ten_runs_keep_their_order(tmp_path: Path) -> None:
    for number in range(11):
        (tmp_path / str(number) / "results").mkdir(parents=True)
    (tmp_path / "results.csv").touch()
    assert [path.name for path in run_folders(tmp_path)] == [str(n) for n in range(11)]


def test_gains_point_to_better_whichever_way_a_figure_goes(swept: Path) -> None:
    comparison = compare(read_arms([swept]), resamples=500)
    arm = comparison.arms[2]
    psnr, lpips = comparison.row(arm, "psnr"), comparison.row(arm, "lpips")
    expected = [-1.0 if place == 3 else 1.0 + place % 3 for place in range(len(IDS))]
    assert psnr and psnr.gain == pytest.approx(np.mean(expected))
    assert psnr.wins == 11 and psnr.ties == 0 and psnr.images == 12
    assert psnr.gain_low < psnr.gain < psnr.gain_high
    assert lpips and lpips.mean == pytest.approx(0.2)
    assert lpips.gain == pytest.approx(0.1)  # the distance fell
    ssim = comparison.row(arm, "ssim")
    assert ssim and (ssim.wins, ssim.ties, ssim.gain) == (0, 12, 0.0)
    base = comparison.row(comparison.arms[0], "psnr")
    assert base and base.gain is None
    names = [kind.name for kind in comparison.figures]
    assert "loss/activation" in names and "loss/total" not in names
    names = ["psnr", "ssim", "tuned_psnr", "lpips", "hue_error", "tuned_lpips"]
    assert [figure(name).higher for name in names] == [True] * 3 + [False] * 3
    assert figure("tuned_psnr").title == "PSNR (dB), tuned"


def test_only_images_that_all_runs_have_are_compared(tmp_path: Path) -> None:
    for name, ids in (("a", IDS[1:8]), ("b", IDS[4:])):
        write_run(tmp_path / name, ids, lambda place: {"psnr": float(place)}, [f"alpha={name}"])
    comparison = compare(read_arms([tmp_path]), resamples=10)
    assert comparison.ids == IDS[4:8]
    row = comparison.row(comparison.arms[1], "psnr")
    assert row and row.gain == pytest.approx(-3.0)  # the same image stands three places earlier
    write_run(tmp_path / "c", IDS[:1], lambda place: {"psnr": 1.0}, ["alpha=c"])
    with pytest.raises(RosettaError, match="no image in common"):
        compare(read_arms([tmp_path]))


def test_a_figure_is_compared_where_every_run_has_it(tmp_path: Path) -> None:
    """Nothing can be read from some images; that is no figure of them, and no error either."""

    def lacking(place: int) -> dict[str, float]:
        return {"psnr": 1.0, "hue_error": float("nan") if place in (2, 3) else float(place)}

    write_run(tmp_path / "a", IDS[1:8], lambda place: {"psnr": 1.0, "hue_error": 9.0}, ["alpha=a"])
    write_run(tmp_path / "b", IDS[1:8], lacking, ["alpha=b"])
    for path in tmp_path.rglob("result.json"):
        assert "NaN" not in path.read_text()  # which is no JSON
    runs = tmp_path / "out"
    compare_runs(runs, [tmp_path / "a", tmp_path / "b"], resamples=10)
    rows = {(row["run"], row["figure"]): row for row in table(runs / "comparison.csv")}
    assert rows["b", "psnr"]["images"] == "7" and rows["b", "hue_error"]["images"] == "5"
    assert float(rows["b", "hue_error"]["mean"]) == pytest.approx((0 + 1 + 4 + 5 + 6) / 5)
    assert float(rows["a", "hue_error"]["mean"]) == 9.0
    assert [row["hue_error"] for row in table(runs / "images.csv")].count("") == 2
    assert "5 of 5 (100%)" in (page := (runs / "index.html").read_text()) and "NaN" not in page


def test_runs_without_results_and_other_targets_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a job leaves that failed after it had claimed its folder."""
    for name in ("a", "b", "c"):
        write_run(tmp_path / name, IDS[1:4], lambda place: {"psnr": 1.0}, [f"alpha={name}"])
    write_run(tmp_path / "d", [], lambda place: {}, ["alpha=d"])
    assert len(read_arms([tmp_path])) == 3
    assert f"{tmp_path / 'd'} is left out" in caplog.text
    compare(read_arms([tmp_path]), resamples=10)
    assert "not the same image" not in caplog.text
    other = tmp_path / "c" / "results" / IDS[2] / "target.png"
    Image.new("RGB", (16, 16)).save(other)
    compare(read_arms([tmp_path]), resamples=10)
    assert f"'{IDS[2]}' is not the same image" in caplog.text


def test_starts_are_no_result(tmp_path: Path) -> None:
    figures = {"centre_error": 0.1, "start_centre_error": 0.2}
    for name in ("a", "b"):
        write_run(tmp_path / name, IDS[1:3], lambda place: figures, [f"alpha={name}"])
    names = [kind.name for kind in compare(read_arms([tmp_path]), resamples=10).figures]
    assert "centre_error" in names and "start_centre_error" not in names


@pytest.mark.parametrize("made", [(), ("results",), ("results", ".hydra")])
def test_folders_that_are_no_runs(tmp_path: Path, made: tuple[str, ...]) -> None:
    for name in made:
        (tmp_path / name).mkdir()
    with pytest.raises(RosettaError, match=r"no results|not a run folder"):
        read_arms([tmp_path])


def test_one_run_is_nothing_to_compare(swept: Path) -> None:
    with pytest.raises(RosettaError, match="fewer than two"):
        read_arms([swept / "0"])


def test_a_sweep_leaves_tables_and_a_page(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference = {"paper": {"psnr": 15.42}}
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(swept)}}, "reference": reference})
    CollectSweep().on_multirun_end(config)
    long = table(swept / "comparison.csv")
    assert {(row["run"], row["figure"]) for row in long} >= {("none", "psnr"), ("all", "lpips")}
    row = next(r for r in long if r["run"] == "all" and r["figure"] == "psnr")
    assert (row["wins"], row["ties"], row["matches"]) == ("11", "0", "all")
    wide = table(swept / "runs.csv")
    assert [row["matches"] for row in wide] == ["none", "dino_vit", "all"]
    assert float(wide[1]["lpips"]) == pytest.approx(0.25)
    images = table(swept / "images.csv")
    assert len(images) == 3 * len(IDS)
    assert {row["id"] for row in images} == set(IDS)
    page = (swept / "index.html").read_text()
    assert page.count('class="run"') == 3  # a line for every run
    assert "<img src=x" not in page
    assert "<script>alert" not in page
    assert re.search(r"paper +15\.42", capsys.readouterr().out)


def test_a_sweep_of_one_run_is_not_compared(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_run(tmp_path / "0", IDS[1:3], lambda place: {"psnr": 1.0})
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    CollectSweep().on_multirun_end(config)
    assert "Nothing to compare" in caplog.text
    assert not (tmp_path / "index.html").exists()


def test_what_others_measured_stands_below(swept: Path, tmp_path: Path) -> None:
    reference = {"paper, all": {"psnr": 15.42, "ssim": 0.365}}
    comparison = compare_runs(tmp_path, [swept], reference=reference, resamples=50)
    text = comparison_text(comparison, reference, 0.95)
    psnr, ssim, lpips = text.split("\n\n")[1:]
    assert re.search(r"paper, all +15\.42", psnr)
    assert re.search(r"paper, all +0\.365", ssim)
    assert "paper" not in lpips
    assert "baseline" in psnr and "11 of 12 (92%)" in psnr
    assert "15.42" in (tmp_path / "index.html").read_text()
    assert '"runs":[["none","../' in (tmp_path / "index.html").read_text()
