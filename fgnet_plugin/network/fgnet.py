"""FG-Net, as in the paper's Figure 2: face -> latent code -> StyleGAN2 feature maps -> one heatmap per action unit.

Yin et al.: FG-Net: Facial Action Unit Detection with Generalizable Pyramidal Features, WACV 2024, arXiv 2308.12380.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fgnet_plugin.network.config import FGNetConfig
from fgnet_plugin.network.encoder import Encoder, StyleHeads
from fgnet_plugin.network.generator import Generator
from fgnet_plugin.network.interpreter import Interpreter
from fgnet_plugin.network.prediction import Prediction
from fgnet_plugin.network.stylegan2_layers import StyledConv
from fgnet_plugin.ops import dispatch
from fgnet_plugin.ops.decode_heatmaps import decode_heatmaps

Precision = Literal["float32", "bfloat16", "float16"]
PRECISIONS: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

_FUSED, _AGAIN = "this model was fused for detection and", "load it again, without fuse,"


class FGNet(nn.Module):
    """The network. Make one with `fgnet_plugin.load`, or untrained from a config: ``FGNet(FGNetConfig(aus=("AU12",)))``.

    Example:
        >>> from fgnet_plugin import load
        >>> net = load("fgnet-rendered")
        >>> net.config.image_size, net.aus[:4]
        (128, ('AU01', 'AU02', 'AU04', 'AU06'))
    """

    def __init__(self, config: FGNetConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.generator = Generator(config)
        self.interpreter = Interpreter(config)
        self._fused = self._kernels = False

    @property
    def fused(self) -> bool:
        """Whether `fuse` has made this model one for detection only."""
        return self._fused

    @property
    def kernels(self) -> bool:
        """Whether this model was fused with the CUDA kernels, see `fuse`."""
        return self._kernels

    @property
    def aus(self) -> tuple[str, ...]:
        """The AUs in channel order: ``("AU01", "AU02", …)``."""
        return self.config.aus

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoder.latent_average.device

    def forward(self, faces: Tensor) -> Tensor:
        """Compute the heatmaps of aligned faces.

        Args:
            faces: [B, 3, S, S] float in [-1, 1], RGB, aligned as FFHQ is; S = config.image_size.

        Returns:
            [B, A, H, H] float32, unclamped; H = config.heatmap_size.

        Raises:
            TypeError, ValueError: another dtype or shape. Values are not looked at (`predict` does).
            ValueError: gradients are on, and the model was fused.

        The generator's ToRGB layers take no part and get no gradient: freeze them where a trainer wants one for everything.
        """
        return self._heatmaps(faces).to(self.encoder.latent_average.dtype)

    def detect(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Compute heatmaps and activations of aligned faces, under ``torch.no_grad()`` and in evaluation mode.

        Nothing in it waits for the device, so that it can be compiled, exported, and captured in a CUDA graph
        (`fgnet_plugin.network.cuda_graphs`).

        Args:
            faces: [B, 3, S, S] float in [-1, 1] on the model's device, as in `forward`.

        Returns:
            Heatmaps [B, A, H, H] float32, unclamped; and [B, A] float32 in [-1, 1], their activations.
            (Both are float64 for a float64 model.)

        Raises:
            TypeError, ValueError: as `forward`.
        """
        return decode_heatmaps(self._heatmaps(faces), kernels=self._kernels)

    def _heatmaps(self, faces: Tensor) -> Tensor:
        """Run `forward` in the dtype that the interpreter's weights have."""
        self.check(faces)
        if faces.dtype == torch.uint8:
            raise TypeError("forward takes floating-point faces in [-1, 1]; predict takes uint8, too")
        if self._fused and torch.is_grad_enabled():
            raise ValueError(f"{_FUSED} has no gradients: call it under torch.no_grad(); {_AGAIN} to train")
        codes = self.encoder(faces, rows=self.config.n_layers)  # [B, n_layers, style_dim]
        styles = self.generator.mapping(codes)  # [B, n_layers, style_dim]
        maps = self.generator(styles, max_size=self.config.heatmap_size)  # n_maps × [B, C_i, ≤ H, ≤ H]
        return self.interpreter(maps)  # [B, A, H, H]

    def predict(self, faces: Tensor, batch_size: int = 8, validate: bool = True) -> Prediction:
        """Detect the AUs of aligned faces, without gradients and without dropout whatever the model's mode.

        In training mode not to be called while another thread uses the model: it changes the mode and restores it.

        Args:
            faces: [B, 3, S, S] on any device: uint8 in [0, 255], or floating point in [-1, 1]. RGB, aligned as FFHQ is.
            batch_size: faces that go through the network at once; it bounds the memory, not the result.
            validate: look at the values of floating-point faces (NaN, range); on a GPU this waits for the device.

        Returns:
            A `Prediction` on the model's device.

        Raises:
            TypeError: faces is no tensor, or of another dtype.
            ValueError: wrong shape or size; values outside [-1, 1]; NaN. Values that are all in [0, 1] bring a warning.

        Example:
            >>> from fgnet_plugin.network import FGNet, small_config
            >>> net = FGNet(small_config(("AU06", "AU12")))
            >>> net.predict(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).scores.shape
            torch.Size([2, 2])
        """
        self.check(faces)
        if validate and faces.is_floating_point() and faces.numel():
            _check_values(faces)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        size, n = self.config.heatmap_size, len(self.aus)
        heatmaps = torch.empty(len(faces), n, size, size, device=self.device)
        activations = torch.empty(len(faces), n, device=self.device)
        with torch.no_grad(), _evaluating(self):
            for start in range(0, len(faces), batch_size):
                part = slice(start, start + batch_size)
                heatmaps[part], activations[part] = self.detect(normalize(faces[part].to(self.device)))
        return Prediction(self.aus, heatmaps, activations)

    @torch.no_grad()
    def fuse(self, kernels: bool | None = None) -> FGNet:
        """Make this a model for detection only, in place: what does not depend on the faces is computed once.

        BatchNorm goes into the convolution before it where that is exact (in float64, rounded once), and is kept as scale and
        shift elsewhere; so is what the generator's layers make of their weights and noise in every pass. The layers
        that only make an RGB image are dropped. The results are the same up to rounding.

        After it, the model can't be trained (it stays in evaluation mode, its parameters need no gradient), saved, or brought
        to another precision with `prepare`: load it again for that. It may be moved to another device. A second call
        changes nothing.

        Args:
            kernels: use the fused operations of `fgnet_plugin.ops`: CUDA kernels on an NVIDIA GPU, their references in plain
                torch elsewhere. Default: where the kernels can be made for the model's device and precision, or as the
                environment variable ``FGNET_KERNELS`` says, see `fgnet_plugin.ops.dispatch.choose`.

        Returns:
            The model.

        Example:
            >>> from fgnet_plugin import load
            >>> net = load("fgnet-rendered").prepare("bfloat16").fuse()
            >>> net.fused
            True
        """
        if self._fused:
            return self
        dtype = self.interpreter.readout.weight.dtype
        self._kernels = dispatch.choose(self.device, dtype) if kernels is None else kernels
        self.encoder.fuse(self._kernels)
        self.generator.fuse(self.config.heatmap_size, self._kernels)
        self.interpreter.fuse(self._kernels)
        self._fused = True
        return self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> FGNet:
        """Set training mode as torch does; raise ValueError where a fused model is to be trained."""
        if mode and self._fused:
            raise ValueError(f"{_FUSED} can't be trained; {_AGAIN}")
        return super().train(mode)

    def requires_grad_(self, requires_grad: bool = True) -> FGNet:
        """Set ``requires_grad`` as torch does; raise ValueError where a fused model is to be trained."""
        if requires_grad and self._fused:
            raise ValueError(f"{_FUSED} has no gradients; {_AGAIN}")
        return super().requires_grad_(requires_grad)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights as torch does; raise ValueError for a fused model, which keeps more of its weights than their state."""
        if self._fused:
            raise ValueError(f"{_FUSED} takes no other weights; {_AGAIN}")
        return super().load_state_dict(state_dict, strict, assign)

    def prepare(
        self,
        precision: Precision = "float32",
        channels_last: bool | None = None,
        device: torch.device | str | None = None,
    ) -> FGNet:
        """Set numeric precision and memory layout for detection, in place; return the model.

        Args:
            precision: dtype of the weights and feature maps of style heads, generator and interpreter. The encoder's trunk,
                an eighth of the arithmetic, stays float32 because it amplifies rounding (docs/numerics.md); so do latent
                codes, mapping network, modulation, demodulation, BatchNorm and the decoded heatmaps. On a CPU bfloat16 is
                fast where the processor has it, and float16 rarely is.
            channels_last: memory layout of feature maps; the results are the same up to rounding. Default: True, but for
                the encoder's trunk on the CPU, which keeps the published code's layout and with it its rounding. Style
                heads and the last map are channels-last in any case.
            device: where the model is going to run; where it is by default.

        Weights that went to half precision come back rounded: load them again for float32. On NVIDIA GPUs, "float32"
        convolutions are TF32 unless ``torch.backends.cudnn.allow_tf32`` is off.

        Raises:
            ValueError: unknown precision; or the model was fused.
        """
        if self._fused:
            raise ValueError(f"{_FUSED} keeps its precision and layout; {_AGAIN} with another")
        if precision not in PRECISIONS:
            raise ValueError(f"unknown precision {precision!r}; use one of {', '.join(PRECISIONS)}")
        dtype = PRECISIONS[precision]
        trunk = ("encoder.stem", "encoder.groups")
        geometry = "encoder.geometry"  # float32 in any precision: it measures
        on_cpu = torch.device(self.device if device is None else device).type == "cpu"
        trunk_channels_last = not on_cpu if channels_last is None else channels_last
        rest_channels_last = channels_last is not False
        self.encoder.channels_last, self.generator.channels_last = trunk_channels_last, rest_channels_last
        for name, module in self.named_modules():
            if name.startswith((*trunk, geometry)):
                continue
            if isinstance(module, (nn.Conv2d, StyleHeads)):
                module.to(dtype)
            elif isinstance(module, StyledConv):
                module.weight.data = module.weight.data.to(dtype)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 4:  # torch convolves in channels-last layout where either operand has it
                last = trunk_channels_last if name.startswith(trunk) else rest_channels_last or name.startswith(geometry)
                layout = torch.channels_last if last else torch.contiguous_format
                parameter.data = parameter.data.contiguous(memory_format=layout)
        for module in self.modules():
            if isinstance(module, StyledConv) and module.upsample:  # its convolution reads the transposed weight
                layout = torch.channels_last if rest_channels_last else torch.contiguous_format
                transposed = module.weight.data.transpose(0, 1).contiguous(memory_format=layout)
                module.weight.data = transposed.transpose(0, 1)
        return self

    def check(self, faces: Tensor) -> None:
        """Raise TypeError or ValueError for faces that `predict` does not take, by dtype and shape, whatever their values."""
        size = self.config.image_size
        if not isinstance(faces, Tensor):
            raise TypeError(
                f"faces must be a torch tensor, got {type(faces).__name__}; "
                "an array [B, H, W, 3] goes in as torch.from_numpy(array).permute(0, 3, 1, 2)"
            )
        if faces.dtype != torch.uint8 and not faces.is_floating_point():
            raise TypeError(f"faces must be uint8 in [0, 255] or floating point in [-1, 1], got {faces.dtype}")
        if faces.ndim != 4 or faces.shape[1] != 3:
            hint = ""
            if faces.ndim == 3:
                hint = "; a single face goes in as faces[None]"
            elif faces.ndim == 4 and faces.shape[3] == 3:
                hint = "; channels come second: faces.permute(0, 3, 1, 2)"
            raise ValueError(f"faces must have shape [B, 3, {size}, {size}], got {list(faces.shape)}{hint}")
        if faces.shape[2:] != (size, size):
            raise ValueError(
                f"this model reads aligned faces of {size}×{size} px, got {faces.shape[2]}×{faces.shape[3]}; "
                f"align them to {size} px (a plain resize of a photo is no aligned face)"
            )


def _check_values(faces: Tensor) -> None:
    low, high = (value.item() for value in torch.aminmax(faces))
    if low != low or high != high:
        raise ValueError("faces contain NaN")
    if low < -1.001 or high > 1.001:
        hint = "; pixel values in [0, 255] go in as uint8" if high > 2 else ""
        raise ValueError(f"floating-point faces must lie in [-1, 1], got [{low:.4g}, {high:.4g}]{hint}")
    if 0 <= low < high:
        warnings.warn(
            f"faces lie in [{low:.2g}, {high:.2g}], but black is -1 here, not 0; where 0 is black, pass 2 * faces - 1",
            stacklevel=3,
        )


def normalize(faces: Tensor) -> Tensor:
    """Bring uint8 faces in [0, 255] to float32 in [-1, 1], as the published code does it; floating point passes as float32.

    Example:
        >>> normalize(torch.tensor([0, 255], dtype=torch.uint8))
        tensor([-1.,  1.])
    """
    if faces.dtype == torch.uint8:
        return (faces.float() / 255 - 0.5) / 0.5
    return faces.float()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode inside, and restore each module's mode after."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
