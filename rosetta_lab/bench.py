"""Measure ratios in one run: ``python -m rosetta_lab.bench mining gen=NAME disc=[NAME]``."""

from __future__ import annotations

import sys
from collections.abc import Callable

from omegaconf import DictConfig

from rosetta_lab.config import entry_point


def mining() -> None:
    """Straightforward mining, the bare forward passes, and ours."""

    @entry_point("bench_mining")
    def main(cfg: DictConfig) -> None:
        from rosetta_lab.benchmarks.mining import run

        print(run(cfg).report())

    main()


BENCHMARKS: dict[str, Callable[[], None]] = {"mining": mining}


def main() -> None:
    """Take the benchmark's name off the command line and run it."""
    if len(sys.argv) < 2 or sys.argv[1] not in BENCHMARKS:
        sys.exit(f"Usage: python -m rosetta_lab.bench {{{','.join(BENCHMARKS)}}} [key=value ...]")
    BENCHMARKS[sys.argv.pop(1)]()


if __name__ == "__main__":
    main()
