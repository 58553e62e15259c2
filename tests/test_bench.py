"""The mining benchmark: what it compares agrees, and its figures are each method's own."""

from __future__ import annotations

import hydra
import torch

from rosetta_lab.benchmarks.mining import measured, run
from rosetta_lab.config import asset_root


def test_both_tables_agree_on_a_small_pair() -> None:
    with hydra.initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        cfg = hydra.compose(
            "bench_mining",
            ["weights=random", "num_images=3", "reference_images=2", "batch_size=2"],
        )
    result = run(cfg)
    assert result.largest_difference < 1e-4
    assert min(result.forward, result.ours, result.straightforward) > 0
    assert "times as fast as the straightforward" in result.report()


def test_peak_memory_is_that_of_the_block() -> None:
    seconds: dict[str, float] = {}
    peak: dict[str, float] = {}
    with measured("large", 1, seconds, peak):
        torch.ones(2**26)  # 256 MB
    with measured("small", 1, seconds, peak):
        torch.ones(2**10)
    assert peak["large"] > peak["small"] + 200
