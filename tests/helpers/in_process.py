"""Datasets without Ray: workers that are objects of the test's own process, for tests of what is around them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

from fgnet_plugin.scale import dataset, students


class InProcessRemote:
    """In the place of `RayRemote`: a call is made when its result is asked for."""

    def __init__(self, _: object, make: Callable[..., Any], arguments: tuple[Any, ...], cpus: float, gpus: float) -> None:
        self._make, self._arguments = make, arguments

    def start(self) -> Any:
        return self._make(*self._arguments)

    def call(self, worker: Any, method: str, *arguments: Any) -> Any:
        return lambda: getattr(worker, method)(*arguments)

    def wait(self, references: list[Any], seconds: float) -> list[Any]:
        return references[:1]

    def result(self, reference: Any) -> Any:
        return reference()

    def stop(self, worker: Any) -> None:
        pass


@contextmanager
def without_ray() -> Iterator[None]:
    """Let `detect_dataset` and `fill_with` work in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (dataset, students):
            patch.setattr(module, "RayRemote", InProcessRemote)
            patch.setattr(module, "ray_session", lambda *_, **__: nullcontext())
        patch.setenv("FGNET_NUM_THREADS", "1")  # workers set both, and they are set back afterwards
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
