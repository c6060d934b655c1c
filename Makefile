# Each target but those for a GPU sets up what it needs in .venv; a Python of at least 3.11 and a package index are all that must be there.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# On all cores, up to eight: each worker takes up to 2 GB of memory. A worker that has nothing left to do takes over tests of another.
PARALLEL := -n logical --maxprocesses 8 --dist worksteal

.PHONY: demo test test-slow test-all coverage lint docs pictures bench fuzz claims gpu gpu-stages gpu-train clean

demo: .venv/with-feat ## a photo and a video to AUs, without a download: tables, Fex as CSV, pictures
	@echo "fgnet demo: torch and py-feat load for some seconds first"
	@$(BIN)/fgnet demo

test: .venv/with-dev ## the tests to run before a change
	$(PYTEST) $(PARALLEL) -m "not slow"

test-slow: .venv/with-dev ## those that take long: trainings to their end, networks of the published size, py-feat's own tests
	$(PYTEST) $(PARALLEL) -m slow

test-all: test test-slow ## all tests, each once

coverage: .venv/with-dev ## all tests, and which lines and branches they run
	$(PYTEST) $(PARALLEL) --cov --cov-report=term-missing:skip-covered --cov-report=html:outputs/coverage

lint: .venv/with-dev ## linters, formatting, types, which folder may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/typos *.md docs weights cuda

docs: .venv/with-docs ## the documentation as pages that open from disk, its tutorials run: outputs/docs/site/index.html
	PYTHONPATH=.:tests/helpers:docs/make $(BIN)/python docs/make/site_build.py

pictures: .venv/with-dev ## the documentation's pictures, into docs/, but for those of `make claims`: docs/pictures.md
	$(BIN)/python examples/readme_picture.py
	$(BIN)/python examples/fgnet_figure.py
	$(BIN)/python examples/pretrained_picture.py
	$(BIN)/fgnet train render docs --renderer masks --sheets
	$(BIN)/fgnet train render docs --sheets
	$(BIN)/python examples/real_faces.py --checkpoint fgnet-rendered-1 --out outputs/real_faces
	cp outputs/real_faces/real_faces.png docs/

bench: .venv/with-dev ## speed on this machine; beside the published code where baseline/FG-Net holds it
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only

FILES ?= 10000
SEED ?= 0

fuzz: .venv/with-dev ## damaged pictures, videos, tables, settings and weights: each is read or refused; FILES=… of each kind from SEED=…
	PYTHONPATH=. $(BIN)/python tests/fuzz/fuzz.py --files $(FILES) --seed $(SEED)

claims: .venv/with-dev ## the paper's claims on rendered faces: a pretraining, its gate, 55 trainings; figures to docs/
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
	rm -rf .venv dist outputs

.venv/with-%: pyproject.toml .ci/constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python .ci/install.py $*
	@touch $@
