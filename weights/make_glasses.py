"""Make ``glasses.safetensors``, the network of `fgnet_plugin.faces.glasses`, from rendered heads with and without glasses.

    python weights/make_glasses.py [--heads 700] [--test-heads 250] [--out FILE]

Each head is drawn once and photographed six times, three times with glasses. Minutes on one core. It prints the AUC for heads
that were not learnt from, those of the domain ``film`` among them, which is in no training. Needs the extra ``train``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor

from fgnet_plugin.faces.glasses import GlassesNet, strip_points
from fgnet_plugin.training.rendered import camera, head_expressions, head_scene, heads, props
from fgnet_plugin.training.rendered.corpus import framed
from fgnet_plugin.training.rendered.domains import DOMAINS
from fgnet_plugin.utils.safetensors_file import FACE_NETWORK, write

SIZE, INNER, SHOTS = 128, 192, 6
SEED, BATCH, EPOCHS = 7, 64, 20
LEARNT, TESTED = ("studio", "webcam", "street", "press"), ("studio", "webcam", "street", "press", "film")


def draw_faces(seed: int, count: int, domains: tuple[str, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Grey pictures [n, 1, 128, 128] in [0, 1], landmarks [n, 68, 2] and whether there are glasses [n], of so many heads."""
    cv2.setNumThreads(0)
    pictures, points, worn = [], [], []
    for i in range(count):
        kind, rng = DOMAINS[domains[i % len(domains)]], np.random.default_rng([seed, i])
        drawn, gaze = head_expressions.draw_expression(rng, heads.DRAWN)
        person = head_scene.draw_person(rng, kind, heads.draw_head(rng, rng.uniform(*kind.spread)))
        head = head_scene.draw_picture(rng, kind, person, drawn, gaze, framed(rng, "aligned", INNER), (INNER, INNER))
        covered = head.rgba[..., 3:]
        level = float((head.rgba[..., :3] * covered).sum() / (3 * covered.sum() + 1))
        shrunk = cv2.resize(head.rgba, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        landmarks = head.landmarks * (SIZE / INNER)
        for shot in range(SHOTS):
            background = camera.draw_background(rng, kind, SIZE, SIZE)
            background += rng.beta(2, 1) * (background.mean(-1, keepdims=True) - background)
            linear = shrunk[..., :3] + (1 - shrunk[..., 3:]) * background
            if shot % 2:
                glasses = props.draw_glasses(rng, head.eyeballs)
                project = head.camera.project
                props.put_glasses(
                    rng, linear, glasses, lambda p, project=project: project(p)[1] * (SIZE / INNER), head.camera.turn
                )
            steep = (np.maximum(linear.mean(-1, keepdims=True), 1e-4) / (level + 1e-3)) ** np.float32(rng.uniform(0, 0.5))
            image = camera.develop(rng, kind, (linear * steep).astype(np.float32), level).image
            if rng.random() < kind.tight:
                props.cut_photo(rng, image, landmarks)
            pictures.append(image.mean(-1, dtype=np.float32) / 255)
            points.append((landmarks - 0.5).astype(np.float32))
            worn.append(float(shot % 2))
    return torch.from_numpy(np.stack(pictures))[:, None], torch.from_numpy(np.stack(points)), torch.tensor(worn)


def strips(pictures: Tensor, landmarks: Tensor) -> Tensor:
    """What the network sees of pictures: [n, 40, 64]."""
    grid = (2 * strip_points(landmarks) + 1) / SIZE - 1
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)[:, 0]


def varied(pictures: Tensor, landmarks: Tensor) -> Tensor:
    """Strips as other landmarks, cameras and light would give them."""
    count = len(pictures)
    moved = landmarks + torch.randn(count, 1, 2)
    moved[:, 36:42] += 0.7 * torch.randn(count, 1, 2)
    moved[:, 42:48] += 0.7 * torch.randn(count, 1, 2)
    found = strips(pictures, moved)
    found = torch.where((torch.rand(count) < 0.5)[:, None, None], found.flip(2), found)
    found = found.clamp(min=1e-4) ** torch.exp(0.3 * torch.randn(count, 1, 1))
    blurred = F.avg_pool2d(found[:, None], 3, 1, 1)[:, 0]
    found = torch.where((torch.rand(count) < 0.3)[:, None, None], blurred, found)
    return found + torch.randn_like(found) * torch.rand(count, 1, 1) * 0.02


def train(pictures: Tensor, landmarks: Tensor, worn: Tensor) -> GlassesNet:
    """Train the network; its weights are averaged over the last steps."""
    torch.manual_seed(SEED)
    net = GlassesNet()
    steps = EPOCHS * (len(pictures) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    mean = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(pictures)).split(BATCH)[: len(pictures) // BATCH]:
            loss = F.binary_cross_entropy_with_logits(net(varied(pictures[chosen], landmarks[chosen])), worn[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            mean.update_parameters(net)
    return mean.module.eval()


def main() -> None:
    """Draw heads, train, test and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, default=700)
    parser.add_argument("--test-heads", type=int, default=250)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "glasses.safetensors")
    options = parser.parse_args()
    torch.set_num_threads(1)
    net = train(*draw_faces(SEED, options.heads, LEARNT))
    pictures, landmarks, worn = draw_faces(SEED + 1, options.test_heads, TESTED)
    with torch.inference_mode():
        scores = net(strips(pictures, landmarks)).sigmoid()
    of_domain = torch.arange(options.test_heads).repeat_interleave(SHOTS) % len(TESTED)
    for i, name in enumerate((*TESTED, "all")):
        chosen = of_domain == i if i < len(TESTED) else of_domain >= 0
        right = ((scores > 0.5) == (worn > 0.5))[chosen].float().mean()
        print(f"{name:8} AUC {roc_auc_score(worn[chosen], scores[chosen]):.3f}, right at 0.5: {right:.3f}")
    source = f"weights/make_glasses.py --heads {options.heads}"
    print(write(options.out, net.state_dict(), {"format": FACE_NETWORK, "network": "glasses", "source": source}))


if __name__ == "__main__":
    main()
