"""Fetch uPlot, which draws the curves on report pages, into the package: ``python .ci/get_uplot.py``. Its licence is MIT."""

import hashlib
import io
import tarfile
from pathlib import Path

import requests

ADDRESS = "https://registry.npmjs.org/uplot/-/uplot-1.6.32.tgz"
SHA256 = "4b8a8191e425658e3ea8c8c1314b0fc679c861ee3a1af2b20c7b16ba50b5133d"
FILES = ("uPlot.iife.min.js", "uPlot.min.css")
FOLDER = Path(__file__).parents[1] / "fgnet_plugin" / "report" / "static"

if __name__ == "__main__":
    content = requests.get(ADDRESS, timeout=60).content
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise SystemExit(f"{ADDRESS} is another file than before")
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for name in FILES:
            file = archive.extractfile(f"package/dist/{name}")
            assert file is not None
            (FOLDER / name).write_bytes(file.read())
