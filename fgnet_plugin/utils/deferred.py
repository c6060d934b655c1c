"""Results that are waited for later, and the generator that keeps one of them in flight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Deferred(Generic[T]):
    """A result that may still be on its way, with the interface of a `concurrent.futures.Future`.

    No thread works on it: `wait` runs in the thread that first asks for the result.

    Args:
        wait: waits for the result, such as for a GPU, and returns it. It is called once and then dropped.

    Example:
        >>> Deferred(lambda: 1 + 1).result()
        2
    """

    def __init__(self, wait: Callable[[], T]) -> None:
        self._wait: Callable[[], T] | None = wait
        self._result: T

    def result(self) -> T:
        """Return the result, the same object at every call; the first call may have to wait."""
        if self._wait is not None:
            self._result, self._wait = self._wait(), None
        return self._result


def lookahead(items: Iterator[T]) -> Iterator[T]:
    """Yield each item once the next has been started.

    Where the next one brings an error or Ctrl-C, the item before it still comes first.

    Example:
        >>> started = lookahead(model.submit(*batch) for batch in batches)  # doctest: +SKIP
        >>> scores = [reading.result().scores for reading in started]  # doctest: +SKIP
    """
    started: list[T] = []
    while True:
        try:
            started.append(next(items))
        except StopIteration:
            yield from started
            return
        except BaseException:
            yield from started
            raise
        if len(started) > 1:
            yield started.pop(0)
