"""Peak memory of a process, for child processes that tests start (they have this folder on PYTHONPATH)."""

import re
import sys
from pathlib import Path


def peak() -> int:
    """Bytes that this process has had in memory at most.

    getrusage would do, but on Linux a child's peak there begins with that of the process that started it.
    """
    if sys.platform == "linux":
        return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
