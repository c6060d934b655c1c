"""Runs the authors' own network beside ours, where a checkout of ihp-lab/FG-Net lies in ``baseline/FG-Net``.

That folder is ignored by git: nothing of the published code is part of this repository. Its StyleGAN2 compiles CUDA
extensions when it is imported, which its path on the CPU doesn't use: without a GPU they stay uncompiled.
"""

import argparse
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

FOLDER = Path(os.environ.get("FGNET_PUBLISHED_CODE", Path(__file__).parents[2] / "baseline" / "FG-Net")) / "code"


class PublishedNetwork:
    """The published network with the weights of a ``model.pth``; each part a function of its input."""

    def __init__(self, model_pth: Path, encoder_pt: Path, device: torch.device | str = "cpu") -> None:
        if not (FOLDER / "models").is_dir():
            pytest.skip(f"no checkout of ihp-lab/FG-Net at {FOLDER.parent}")
        patch = pytest.MonkeyPatch()
        extensions = types.ModuleType("torch.utils.cpp_extension")
        extensions.load = lambda *_, **__: types.SimpleNamespace()  # type: ignore[attr-defined]
        if torch.device(device).type == "cpu":
            patch.setitem(sys.modules, "torch.utils.cpp_extension", extensions)
        patch.syspath_prepend(str(FOLDER))
        from models.encoders.psp_encoders import GradualStyleEncoder
        from models.interpreter import pyramid_interpreter
        from models.stylegan2_pytorch.stylegan2_pytorch import Generator

        patch.undo()
        options = argparse.Namespace(n_styles=18, output_size=1024, input_nc=3)
        self.encoder = GradualStyleEncoder(50, "ir_se", options).eval()
        self.generator = Generator(1024, 512, 8, channel_multiplier=2, randomize_noise=False).eval()
        self.interpreter = pyramid_interpreter(32, 0.1).eval()
        parts = torch.load(model_pth, weights_only=True, mmap=True)
        self.encoder.load_state_dict(parts["pspencoder"])
        self.generator.load_state_dict(parts["g_all"])
        self.interpreter.load_state_dict(parts["interpreter"])
        self.average = torch.load(encoder_pt, weights_only=True)["latent_avg"].to(device)
        for part in (self.encoder, self.generator, self.interpreter):
            part.to(device)

    def double(self) -> None:
        """To float64, the noise included."""
        for part in (self.encoder, self.generator, self.interpreter):
            part.double()
        self.average = self.average.double()

    def parts(self) -> dict[str, Callable[[Tensor], object]]:
        """Encoder (faces -> styles), generator (styles -> maps), interpreter (maps -> heatmaps)."""
        return {"encoder": self.styles, "generator": self.maps, "interpreter": self.interpreter}

    def styles(self, faces: Tensor) -> Tensor:
        latent = self.encoder(faces) + self.average
        return self.generator.style(latent.reshape(-1, 512)).reshape(latent.shape)

    def maps(self, styles: Tensor) -> list[Tensor]:
        return self.generator.g_synthesis(styles, noise=None)[1][1:18:2]

    def __call__(self, faces: Tensor) -> Tensor:
        return self.interpreter(self.maps(self.styles(faces)))[:, :12]
