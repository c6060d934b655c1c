# Each target but those for a GPU sets up what it needs in .venv; a Python of at least 3.11 and a package index are all that must be there.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
TRAINING_TESTS := $(patsubst %,tests/test_%.py,baseline claims corpora distributed evaluate full_size prepare pretraining rendered \
	shared_steps starts targets training training_rendered)

.PHONY: demo test test-train lint bench claims gpu gpu-stages gpu-train clean

demo: .venv/with-feat ## a photo and a video to AUs, without a download: tables, Fex as CSV, pictures
	$(BIN)/fgnet demo

test: .venv/with-dev test-train ## all tests
	$(BIN)/python -m pytest $(addprefix --ignore=,$(TRAINING_TESTS))

test-train: .venv-train/ready ## those of the training module, where only the extra `train` is installed, without py-feat
	.venv-train/bin/python -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('feat') is not None)"
	.venv-train/bin/python -m pytest $(TRAINING_TESTS)

lint: .venv/with-dev ## linters, formatting, types, which folder may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/with-dev ## speed on this machine; beside the published code where baseline/FG-Net holds it
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only

claims: .venv/with-dev ## the paper's claims on rendered corpora: 54 trainings, table and plot to docs/
	$(BIN)/python examples/claims.py --docs docs

# Wheels that a machine without a package index lacks, for its Python (cuda-core 1.2 and cuda-pathfinder): put them there.
WHEELS ?= wheels
# Of each of compute-sanitizer's tools, which make kernels tens of times slower.
SANITIZER_SECONDS ?= 600

gpu: ## tests and speed on an NVIDIA GPU; uses a Python that has torch, safetensors, scikit-image, Lightning, pytest(-benchmark), cuda-core
	@if ls $(WHEELS)/*.whl >/dev/null 2>&1; then $(PYTHON) -m pip install --quiet --no-index --no-deps $(WHEELS)/*.whl; fi
	@status=0; run() { echo "+ $$*"; env PYTHONPATH=. "$$@" || status=1; }; \
	run $(PYTHON) -m pytest -s tests/gpu; \
	run $(PYTHON) tests/benchmarks/gpu_kernels.py; \
	run $(PYTHON) tests/benchmarks/gpu.py; \
	if command -v compute-sanitizer >/dev/null; then for tool in memcheck racecheck; do \
		echo "+ compute-sanitizer --tool $$tool, up to $(SANITIZER_SECONDS) s"; \
		env PYTHONPATH=. FGNET_BRIEF=1 timeout $(SANITIZER_SECONDS) compute-sanitizer --tool $$tool --report-api-errors no \
			--error-exitcode 9 $(PYTHON) -m pytest -q -p no:cacheprovider tests/gpu/test_gpu_kernels.py tests/gpu/test_gpu_crop.py; \
		case $$? in 0) ;; 124) echo "$$tool was cut off after $(SANITIZER_SECONDS) s: no verdict";; *) status=1;; esac; done; \
	else echo "compute-sanitizer is not installed: left out"; fi; \
	exit $$status

gpu-stages: ## speed of the training's stages on an NVIDIA GPU, small and published sizes; needs Lightning, too
	PYTHONPATH=. $(PYTHON) tests/benchmarks/stage_speed.py
	PYTHONPATH=. $(PYTHON) tests/benchmarks/stage_speed.py --published --steps 10

GPU_TRAIN := PYTHONPATH=. $(PYTHON) -m fgnet_plugin train
GPU_SETTINGS := --resume --set trainer.accelerator=gpu --set trainer.workers=$(shell nproc) --set trainer.progress=false \
	--set trainer.log_every=500 --set trainer.checkpoint_every=1000

gpu-train: ## the three stages on a GPU, with many times the faces; where it is interrupted, the same command goes on
	$(GPU_TRAIN) generator --config generator-small $(GPU_SETTINGS) --set trainer.out=outputs/gpu/generator \
		--set data.rendered.faces_per_epoch=128000 --set optimiser.epochs=12
	$(GPU_TRAIN) encoder --config encoder-small $(GPU_SETTINGS) --set trainer.out=outputs/gpu/encoder \
		--set start_from=outputs/gpu/generator/generator.safetensors --set data.rendered.faces_per_epoch=64000
	$(GPU_TRAIN) detector --config rendered-small $(GPU_SETTINGS) --set trainer.out=outputs/gpu/detector \
		--set model.start_from=outputs/gpu/encoder/pretrained.safetensors --set data.rendered.faces_per_epoch=96000

clean:
	rm -rf .venv .venv-train dist outputs

# Always made anew: torch is linked from .venv, not installed a second time, which saves 6 GB and minutes.
.venv-train/ready: pyproject.toml .ci/constraints.txt .ci/share_packages.py | .venv/with-dev
	rm -rf .venv-train
	$(BIN)/python -m venv --without-pip .venv-train
	$(BIN)/python .ci/share_packages.py .venv-train torch pip
	.venv-train/bin/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt \
		-e '.[train]' pytest pytest-benchmark
	@touch $@

.venv/with-%: pyproject.toml .ci/constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt -e '.[$*]'
	@touch $@
