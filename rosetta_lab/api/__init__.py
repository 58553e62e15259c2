"""Mining, inverting and editing from Python; ``import rosetta_lab as rl`` has it all."""
