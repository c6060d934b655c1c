"""Threads of this process and of its workers."""

import subprocess
import sys

WORKERS_AFTER_OPENCV = """
import cv2, numpy as np, torch
from torch.utils.data import DataLoader
from fgnet_plugin.utils.threads import single_threaded, stop_opencv_threads

cv2.setNumThreads(4)
cv2.GaussianBlur(np.zeros((4000, 4000, 3), np.float32), (31, 31), 5)  # with threads
stop_opencv_threads()

class Blurred:
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return float(cv2.GaussianBlur(np.full((500, 500), index, np.float32), (31, 31), 5).mean())

print([round(batch.item()) for batch in DataLoader(Blurred(), 1, num_workers=2, worker_init_fn=single_threaded)])
"""


def test_workers_start_after_opencv_has_used_threads() -> None:
    done = subprocess.run([sys.executable, "-c", WORKERS_AFTER_OPENCV], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[0, 1, 2, 3]\n"
