"""Records stylegan2.npz: what rosinality's StyleGAN2 computes at a small size, on the CPU in float64.

    git clone https://github.com/rosinality/stylegan2-pytorch     # recorded at bef283a1c24087da704d16c30abc8e36e63efa0e
    python tests/golden/record_stylegan2.py stylegan2-pytorch

Its operations' CPU paths are plain torch; the compiled CUDA extensions, which they import at once, are replaced by nothing, and
the table of channels by 16 at every resolution, which is quick.
Weights are a formula of their names (formula_checkpoint.py), so that they need no place in the file.
"""

import math
import sys
import types
from pathlib import Path

import numpy as np
import torch
from formula_checkpoint import _normal

SIZE, DIM, BATCH, SEED, CHANNELS = 64, 16, 4, 11, 16


def formula_weights(net: torch.nn.Module, part: str) -> dict[str, torch.Tensor]:
    """Weights of unit variance, small biases and noise strengths, by name and shape; constant blurs stay."""
    state = {}
    for name, tensor in net.state_dict().items():
        if name.endswith("kernel"):
            state[name] = tensor.double()
            continue
        values = torch.from_numpy(_normal(part, name, tuple(tensor.shape), SEED)).double()
        small = name.endswith(("bias", "noise.weight"))
        state[name] = 0.1 * values + (1.0 if name.endswith("modulation.bias") else 0.0) if small else values
        if name.startswith("style.") and name.endswith("weight"):
            state[name] = values * 100  # stored so many times as large as it is used
    return state


def load_theirs(folder: Path) -> tuple[object, object]:
    """Modules model and train of the clone; train's functions only."""
    import torch.utils.cpp_extension

    torch.utils.cpp_extension.load = lambda *args, **kwargs: None
    sys.path.insert(0, str(folder))
    text = (folder / "model.py").read_text()
    model = types.ModuleType("model")
    exec(text.replace(": 512", f": {CHANNELS}").replace(": 256 * channel_multiplier", f": {CHANNELS}"), model.__dict__)
    source = (folder / "train.py").read_text()
    functions = source[source.index("def d_logistic_loss") : source.index("def make_noise")]
    losses = types.ModuleType("losses")
    exec("import math, torch\nfrom torch import autograd\nimport torch.nn.functional as F\nfrom op import conv2d_gradfix", losses.__dict__)
    exec(functions, losses.__dict__)
    return model, losses


def main(folder: Path) -> None:
    model, losses = load_theirs(folder)
    generator, discriminator = model.Generator(SIZE, DIM, 2).double(), model.Discriminator(SIZE).double()
    generator.load_state_dict(formula_weights(generator, "g_ema"))
    discriminator.load_state_dict(formula_weights(discriminator, "d"))
    codes = torch.from_numpy(_normal("codes", "z", (BATCH, DIM), SEED)).double()
    images = torch.from_numpy(_normal("images", "x", (BATCH, 3, SIZE, SIZE), SEED)).double().requires_grad_(True)
    noise = [getattr(generator.noises, f"noise_{i}") for i in range(generator.num_layers)]
    faces, latents = generator([codes], return_latents=True, noise=noise)
    logits = discriminator(images)
    r1 = losses.d_r1_loss(logits, images)
    direction = torch.from_numpy(_normal("direction", "y", tuple(faces.shape), SEED)).double()
    torch.randn_like = lambda like: direction  # the one random draw of g_path_regularize
    penalty, mean, lengths = losses.g_path_regularize(faces, latents, torch.tensor(0.5).double())
    found = {
        "image": faces[:2].float(), "styles": latents[:, 0], "logits": logits[:, 0], "r1": r1, "path_lengths": lengths,
        "path_penalty": penalty, "path_mean": mean, "discriminator_loss": losses.d_logistic_loss(logits, discriminator(faces)),
        "generator_loss": losses.g_nonsaturating_loss(discriminator(faces)),
    }  # fmt: skip
    arrays = {name: value.detach().numpy() for name, value in found.items()}
    assert all(np.isfinite(array).all() for array in arrays.values()) and math.isfinite(float(r1))
    np.savez_compressed(Path(__file__).with_name("stylegan2.npz"), **arrays)
    for name, array in arrays.items():
        print(name, array.shape, float(np.abs(array).mean()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
