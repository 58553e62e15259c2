"""Training of the embedded discriminative models."""

import math
from itertools import pairwise
from typing import Any

import lightning as L
import open_clip
import pytest
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from hydra.utils import get_class, instantiate
from torch.utils.data import DataLoader

from rosetta_lab.data.fashion import captions
from rosetta_lab.data.fashion.scenes import CLASSES, FashionScenes
from rosetta_lab.data.latents import as_is
from rosetta_lab.files import asset_root
from rosetta_lab.zoo import clip, dino, evaluate, mae
from rosetta_lab.zoo.schedule import warmup_cosine

DISCRIMINATIVE = (
    "resnet_fashion",
    "dino_resnet_fashion",
    "dino_vit_fashion",
    "mae_fashion",
    "clip_fashion",
)


@pytest.fixture(scope="module")
def train() -> FashionScenes:
    return FashionScenes("train", seed=1_000_000)


# Captions


def test_captions_name_the_truth(train: FashionScenes) -> None:
    scenes = train.scenes(range(200))
    for i, known in enumerate(captions.facts(scenes)):
        assert CLASSES[scenes.label[i]] in known.garment
        text = captions.caption(captions.TEMPLATES[0], known)
        assert known.garment in text and known.colour in text
        x, y = scenes.centre[i].tolist()
        assert ("left" in text) == (x <= 0.45) and ("right" in text) == (x > 0.55)
        assert ("top" in text) == (y <= 0.45) and ("bottom" in text) == (y > 0.55)
        scale = float(scenes.scale[i])
        assert ("small" in text) == (scale <= 0.58) and ("large" in text) == (scale > 0.72)


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((1.0, 0.0, 0.0), "red"),
        ((1.0, 0.0, 0.1), "red"),
        ((1.0, 0.5, 0.0), "orange"),
        ((1.0, 1.0, 0.0), "yellow"),
        ((0.0, 1.0, 0.0), "green"),
        ((0.0, 1.0, 1.0), "cyan"),
        ((0.0, 0.0, 1.0), "blue"),
        ((0.5, 0.0, 1.0), "purple"),
        ((1.0, 0.0, 1.0), "pink"),
    ],
)
def test_colour_names(rgb: tuple[float, float, float], name: str) -> None:
    import colorsys

    hue = torch.tensor([360.0 * colorsys.rgb_to_hsv(*rgb)[0]])
    assert captions.COLOURS[int(captions.colour_names(hue))] == name


def test_articles_and_prompts() -> None:
    orange = captions.Facts("ankle boot", "orange", "small", "at the top")
    assert captions.caption("a {colour} {garment} {place}", orange) == (
        "an orange ankle boot at the top"
    )
    assert captions.prompts("garment")[9] == ["a photo of an ankle boot", "an ankle boot"]
    assert captions.prompts("colour")[0] == ["something red"]


def test_tokens_end_with_their_highest_id(train: FashionScenes) -> None:
    tokenizer = captions.Tokenizer()
    known = captions.facts(train.scenes(range(300)))
    texts = sorted({captions.caption(t, k) for t in captions.TEMPLATES for k in known})
    tokens = tokenizer(texts)
    assert len(tokens.unique(dim=0)) == len(texts)
    for row, text in zip(tokens, texts, strict=True):
        assert int(row.argmax()) == len(text.split()) + 1
        assert not row[int(row.argmax()) + 1 :].any()
    config = compose_model("clip_fashion").module.model.model_kwargs.text_cfg
    assert int(tokens.max()) < config.vocab_size
    assert tokens.shape[1] == config.context_length


def test_contrastive_loss_without_repeats_is_open_clips() -> None:
    torch.manual_seed(0)
    images, texts = (F.normalize(torch.randn(6, 4), dim=1) for _ in range(2))
    expected = open_clip.ClipLoss()(images, texts, torch.tensor(7.0))
    torch.testing.assert_close(
        clip.contrastive_loss(7.0 * images @ texts.T, torch.arange(6)), expected
    )


def test_contrastive_loss_with_repeats_is_lowest_at_the_truth() -> None:
    match = torch.tensor([0, 1, 0])
    right = 50.0 * F.one_hot(match, 2).float()
    # Two images share caption 0: each can have at most half of its probability.
    expected = 0.5 * (math.log(2.0) * 0.5)
    assert clip.contrastive_loss(right, match) == pytest.approx(expected, abs=1e-5)
    assert clip.contrastive_loss(-right, match) > 10.0


# Masked autoencoder


def test_masks_hide_the_asked_share_and_vary() -> None:
    visible, hidden = mae.random_masks(400, 64, 0.75, torch.device("cpu"))
    assert visible.shape == (400, 16)
    assert (hidden.sum(dim=1) == 48).all()
    assert not hidden.gather(1, visible).any()
    assert len(hidden.unique(dim=0)) == 400
    assert hidden.float().mean(dim=0).min() > 0.65  # no position is favoured


def test_patches_are_in_the_order_of_the_embedding() -> None:
    images = torch.rand(2, 3, 32, 16)
    expected = F.unfold(images, 8, stride=8).transpose(1, 2)  # an independent order: (C, p, p)
    torch.testing.assert_close(mae.patchify(images, 8), expected)


def test_hidden_patches_do_not_reach_the_encoder() -> None:
    module = instantiate(compose_model("mae_fashion").module).eval()
    visible, hidden = mae.random_masks(2, 64, 0.75, torch.device("cpu"))
    images = torch.rand(2, 3, 64, 64)
    blocks = hidden.reshape(2, 1, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    with torch.no_grad():
        a = module.encode(images, visible)
        b = module.encode(torch.where(blocks, torch.rand_like(images), images), visible)
        everything = torch.arange(64).expand(2, 64)
        full = module.encode(images, everything)
        torch.testing.assert_close(full, module.encoder.forward_features(images))
    torch.testing.assert_close(a, b)


# DINO


def test_two_renderings_show_the_same_garments() -> None:
    first, second = dino.RenderedTwice("train", seed=3).__getitems__([5, 6, 7])
    assert torch.equal(first.label, second.label)
    assert (first.hue - second.hue).abs().min() > 0.1
    fresh, _ = dino.RenderedTwice("train", seed=4).__getitems__([5, 6, 7])
    assert (fresh.hue - second.hue).abs().min() > 0.1


def test_sinkhorn_uses_all_prototypes_equally() -> None:
    torch.manual_seed(0)
    scores = torch.randn(60, 6) * 0.1 + torch.arange(6) * 0.1  # a softmax would favour the last
    targets = dino.sinkhorn(scores, temperature=0.1, iterations=50)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(60))
    torch.testing.assert_close(targets.sum(dim=0), torch.full((6,), 10.0), atol=0.05, rtol=0)
    # What is left orders the prototypes of a row as its own scores do, up to common factors.
    ratio = targets.log() - scores / 0.1
    rows = ratio - ratio.mean(dim=1, keepdim=True)
    torch.testing.assert_close(rows, rows[:1].expand_as(rows), atol=1e-3, rtol=0)


def test_each_view_learns_from_the_other_views_teacher() -> None:
    torch.manual_seed(0)
    student = [torch.randn(4, 6).log_softmax(1) for _ in range(2)]
    teacher = [torch.randn(4, 6).softmax(1) for _ in range(2)]
    expected = F.cross_entropy(student[0], teacher[1]) + F.cross_entropy(student[1], teacher[0])
    torch.testing.assert_close(dino.distillation_loss(student, teacher), expected / 2)


def test_agreement_is_open_clips_contrast_between_the_views() -> None:
    torch.manual_seed(0)
    a, b = (F.normalize(torch.randn(6, 4), dim=1) for _ in range(2))
    expected = open_clip.ClipLoss()(a, b, torch.tensor(10.0))
    torch.testing.assert_close(dino.agreement_loss([a, b], [a, b], 0.1), expected)


def test_the_teacher_is_a_moving_average() -> None:
    module = instantiate(compose_model("dino_vit_fashion").module)
    before = [p.clone() for p in module.teacher.parameters()]
    with torch.no_grad():
        for p in module.student.parameters():
            p.add_(1.0)
    module.update_teacher()
    for slow, old in zip(module.teacher.parameters(), before, strict=True):
        torch.testing.assert_close(slow, old + (1.0 - module.teacher_momentum[0]))
        assert not slow.requires_grad


# Training


def compose_model(name: str) -> Any:
    with initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        return compose("zoo_train", [f"model={name}"]).model


def test_schedule_warms_up_and_decays_to_zero() -> None:
    factors = [warmup_cosine(step / 100, 0.1) for step in range(101)]
    assert factors[0] == 0.0 and factors[10] == pytest.approx(1.0)
    assert factors[100] == pytest.approx(0.0, abs=1e-12)
    assert all(a < b for a, b in pairwise(factors[:11]))
    assert all(a > b for a, b in pairwise(factors[10:]))


@pytest.mark.parametrize("name", DISCRIMINATIVE)
def test_training_makes_the_network_that_the_config_loads(name: str) -> None:
    config = compose_model(name)
    module = instantiate(config.module, images=80, batch_size=8)
    before = {k: v.clone() for k, v in module.trained().state_dict().items()}
    kind = get_class(config.get("dataset", "rosetta_lab.data.fashion.scenes.FashionScenes"))
    loader = DataLoader(kind("train"), 8, collate_fn=as_is)
    trainer = L.Trainer(
        max_steps=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader)
    after = module.trained().state_dict()
    changed = sum(not torch.equal(before[k], after[k]) for k in before)
    assert changed > 0.5 * len(before)
    assert all(v.isfinite().all() for v in after.values())
    target = evaluate.load_disc(name, weights="random").network
    target.load_state_dict(after)


def test_random_crops_are_parts_of_the_image() -> None:
    torch.manual_seed(0)
    pixels = (torch.arange(32) + 0.5) / 32
    ramps = torch.stack([pixels.expand(32, 32), pixels[:, None].expand(32, 32)])  # x and y
    crops = mae.random_crops(ramps.expand(200, 2, 32, 32), least=0.25)
    across, down = crops[:, 0, :, 1:-1], crops[:, 1, 1:-1]  # borders repeat the outermost pixels
    side = (across[:, :, -1] - across[:, :, 0]) * 32 / 29
    assert 0.5 - 1e-4 < float(side.min()) < 0.55 and 0.95 < float(side.max()) < 1.0 + 1e-4
    torch.testing.assert_close(
        across.diff(dim=2).std(dim=2), torch.zeros(200, 32), atol=1e-5, rtol=0
    )
    torch.testing.assert_close((down[:, -1] - down[:, 0]) * 32 / 29, side, atol=1e-4, rtol=0)
    middle = across.mean(dim=(1, 2))
    assert float(middle.min()) < 0.35 and float(middle.max()) > 0.65  # at many places
    whole = mae.random_crops(ramps[None], least=1.0)
    torch.testing.assert_close(whole, ramps[None], atol=1e-5, rtol=0)
