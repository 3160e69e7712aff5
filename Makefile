# The repository's own verbs. `env` sets up; everything else calls it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: env demo test lint types contracts wheel check conformance test-independent bench-training bench-generation bench-samplers bench-gpu bench-io bench-judges bench-audit bench-review bands mutation faults scale bench-scale test-hpc clean

env: $(STAMP)

# The lock pins versions; pyproject.toml says what is needed. The same line gives the build of torch that the machine's index offers.
$(STAMP): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit("sciimg needs Python 3.11 or newer; got " + sys.version.split()[0] + ". Try: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock --no-compile --group dev --group independent --group stores -e ".[demo]"
	touch $@

# Exit code 1 means refused, which is a decision like any other; the audit then says whether it was reached as designed.
demo: env
	$(BIN)/sciimg run protocols/tissue-demo.yaml || test $$? -eq 1
	$(BIN)/sciimg audit "$$(ls -td runs/tissue-demo-*/release/release | head -n 1)"

test: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal --durations 20

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: env
	$(BIN)/mypy

contracts: env
	$(BIN)/lint-imports

check: lint types contracts test

wheel: env
	$(BIN)/python -m build --wheel --no-isolation

conformance: env
	$(BIN)/python -m pytest -m slow --timeout 3600 --ignore tests/independent
	OMP_NUM_THREADS=1 $(BIN)/python tests/conformance/all_systems.py $(CONFORMANCE)

# Everything that other people's programs have a say in, and a whole run of invented people; `make test` runs what needs no more than `make env`.
# What cannot be checked for want of a program fails it: it takes node with npm, jq, openssl and Chromium (Debian: apt install npm jq openssl chromium dicom3tools).
test-independent: env
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock --group exports
	SCIIMG_INDEPENDENT=all $(BIN)/python -m pytest tests/independent tests/stages/test_deidentification_run.py -m "slow or not slow"

bench-training: env
	$(BIN)/python tests/benchmarks/bench_training.py

bench-generation: env
	$(BIN)/python tests/benchmarks/bench_generation.py $(BENCH_GENERATION)

bench-gpu: env
	$(BIN)/python tests/benchmarks/bench_gpu.py $(BENCH_GPU)

bench-samplers: env
	$(BIN)/python tests/benchmarks/bench_samplers.py $(RUNS)

bench-io: env
	$(BIN)/python tests/benchmarks/bench_io.py --out reports/benchmarks/io.json $(BENCH_IO)
	$(BIN)/python tests/benchmarks/bench_patches.py --out reports/benchmarks/patches.json $(BENCH_PATCHES)

# Some forty mutants of each metric and sampler module; MUTATION="--modules pair --sample 0" takes all of one.
mutation: env
	$(BIN)/python tests/benchmarks/mutation.py $(MUTATION)

# Peers that cannot be installed are named in the file as not run. BENCH_JUDGES="--sections curves --only noise-law" makes one gate anew.
bench-judges: env
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock --group peers
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/bench_judges.py --out reports/benchmarks/judges.json $(BENCH_JUDGES)

# What `sciimg verify --benchmarks` is held against; some five minutes of processor time.
bands: env
	$(BIN)/python tests/benchmarks/record_bands.py $(BANDS)

clean:
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis

faults: env
	$(BIN)/python tests/faults/kill_and_resume.py protocols/smoke.yaml --kills 10

scale: env
	$(BIN)/python tests/faults/scale.py many
	$(BIN)/python tests/faults/scale.py large

# What a second worker adds, what a worker needs, and a catalogue of ten million images: some minutes of two free cores, 2 GB of disk.
bench-scale: env
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/bench_scale.py --out reports/benchmarks/scale.json $(BENCH_SCALE)

# A real Slurm of two virtual nodes, Prefect and PostgreSQL, hit by every fault of reports/guide; as root on Debian, or with them installed. HPC="-k drained" runs one.
test-hpc: env
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e ".[demo,hpc]"
	SCIIMG_HPC=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -v -n 2 --dist loadfile tests/hpc -m "slow or not slow" $(HPC)

bench-audit: env
	$(BIN)/python tests/benchmarks/bench_audit.py --out reports/benchmarks/audit.json $(BENCH_AUDIT)

# Answers of eight readers at once, and whether the time a picture takes tells real from synthetic; on an idle machine.
bench-review: env
	$(BIN)/python tests/benchmarks/bench_review.py --out reports/benchmarks/review.json $(BENCH_REVIEW)
