# Each target sets up what it needs in .venv; a Python of at least 3.11 and a package index are all that must be there.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: demo test lint bench gpu gpu-train clean

demo: .venv/with-feat ## a photo and a video to AUs, without a download: tables, Fex as CSV, pictures
	$(BIN)/fgnet demo

test: .venv/with-dev ## all tests
	$(BIN)/python -m pytest

lint: .venv/with-dev ## linters, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/with-dev ## speed on this machine; beside the published code where baseline/FG-Net holds it
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only

gpu: ## tests and speed on an NVIDIA GPU; uses a Python that has torch, safetensors, scikit-image, pytest and pytest-benchmark
	PYTHONPATH=. $(PYTHON) -m pytest -s tests/test_gpu.py tests/test_gpu_training.py
	PYTHONPATH=. $(PYTHON) tests/benchmarks/gpu.py

gpu-train: ## the bundled checkpoint's training on a GPU, ten times as many faces; needs the train extra's packages, too
	PYTHONPATH=. $(PYTHON) -m fgnet_plugin train detector --config rendered-small --set trainer.out=outputs/gpu \
		--set trainer.accelerator=gpu --set trainer.workers=$$(nproc) --set data.rendered.faces_per_epoch=240000

clean:
	rm -rf .venv dist outputs

.venv/with-%: pyproject.toml .ci/constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt -e '.[$*]'
	@touch $@
