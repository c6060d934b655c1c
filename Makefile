# Each target sets up what it needs in .venv; a Python of at least 3.11 and a package index are all that must be there.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
TRAINING_TESTS := $(addprefix tests/test_,baseline.py corpora.py distributed.py evaluate.py prepare.py pretraining.py starts.py \
	targets.py training.py)

.PHONY: demo test test-train lint bench claims gpu gpu-train clean

demo: .venv/with-feat ## a photo and a video to AUs, without a download: tables, Fex as CSV, pictures
	$(BIN)/fgnet demo

test: .venv/with-dev test-train ## all tests
	$(BIN)/python -m pytest $(addprefix --ignore=,$(TRAINING_TESTS))

test-train: .venv-train/ready ## those of the training module, where only the extra `train` is installed, without py-feat
	.venv-train/bin/python -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('feat') is not None)"
	.venv-train/bin/python -m pytest $(TRAINING_TESTS)

lint: .venv/with-dev ## linters, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/with-dev ## speed on this machine; beside the published code where baseline/FG-Net holds it
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only

claims: .venv/with-dev ## the paper's claims on rendered corpora: 54 trainings, table and plot to docs/
	$(BIN)/python examples/claims.py --docs docs

gpu: ## tests and speed on an NVIDIA GPU; uses a Python that has torch, safetensors, scikit-image, pytest and pytest-benchmark
	PYTHONPATH=. $(PYTHON) -m pytest -s tests/test_gpu.py tests/test_gpu_training.py
	PYTHONPATH=. $(PYTHON) tests/benchmarks/gpu.py

gpu-train: ## the bundled checkpoint's training on a GPU, ten times as many faces; needs the train extra's packages, too
	PYTHONPATH=. $(PYTHON) -m fgnet_plugin train detector --config rendered-small --set trainer.out=outputs/gpu \
		--set trainer.accelerator=gpu --set trainer.workers=$$(nproc) --set data.rendered.faces_per_epoch=240000

clean:
	rm -rf .venv .venv-train dist outputs

.venv-train/ready: pyproject.toml .ci/constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3" >&2; exit 1; }
	test -x .venv-train/bin/python || $(PYTHON) -m venv .venv-train
	.venv-train/bin/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt \
		-e '.[train]' pytest pytest-benchmark
	@touch $@

.venv/with-%: pyproject.toml .ci/constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt -e '.[$*]'
	@touch $@
