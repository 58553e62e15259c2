"""Command lines of runs that take a second: toy networks, and the embedded zoo's smallest."""

from __future__ import annotations

GENERATOR = [
    "gen=stylegan2_fashion",
    "gen.name=toy",
    "~gen.network",
    "+gen.network={_target_:toy.ToyGenerator,num_classes:3}",
    "gen.weights=random",
    "gen.layers=[fold,late]",
]
TOY = [
    *GENERATOR,
    "~disc.resnet_fashion",
    "+disc.a={_target_:toy.ToyModel,weights:random}",
    "+disc.b={_target_:toy.ToyModel,seed:2,size:5,weights:random}",
    "k=2",
    "num_images=30",
    "batch_size=4",
    "trainer.accelerator=cpu",
    "save_tables=true",
]
OTHERS = ["dino_resnet_fashion", "dino_vit_fashion", "mae_fashion", "clip_fashion"]
MINE = [*TOY, *(f"~disc.{other}" for other in OTHERS)]
QUIET = ["trainer.accelerator=cpu", "trainer.enable_progress_bar=false"]
INVERT = [
    "steps=8",
    "batch_size=2",
    "perceptual=resnet_fashion",
    "~judges.lpips_fashion",
    "matches=resnet_fashion",
    *QUIET,
]
EDIT = ["steps=8", "latent.seed=[0,1]", "reference_images=2", "frames=2", *QUIET]
