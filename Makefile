# `make demo` and `make test` need Python 3.11 or newer and install everything else into .venv.
# PYTHON=/path/to/python chooses the interpreter; WORKERS=1 and PYTEST_FLAGS=... go to pytest.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/robopref-installed
EXTRAS := dev,postgresql,rl,robomimic,scale,franka,ros2,ur,xarm,vision,zarr
# Where robomimic, or what goes with it, cannot be installed.
FEWER_EXTRAS := dev,postgresql,rl,scale,ros2,ur,xarm,vision,zarr
WORKERS ?= 2
PYTEST_FLAGS ?=
# The stamp holds the extras that were installed: their tests must not be skipped.
PYTEST := OMP_NUM_THREADS=1 ROBOPREF_EXTRAS="$$(cat $(STAMP))" $(BIN)/pytest -q -n $(WORKERS) --dist worksteal $(PYTEST_FLAGS)
PEERS := lerobot flexiv imitation minari openpi franka

# What a side environment holds; the versions that were installed are kept in its versions.txt.
PEER_lerobot := -e '.[arm,lerobot]'
PEER_flexiv := 'flexivrdk>=2.1'
PEER_imitation := imitation==1.0.1 'setuptools<81'
PEER_openpi := openpi-client typing-extensions
PEER_franka := franky-sim==1.0.4
PEER_minari := 'minari[hdf5,arrow]' 'numpy>=2' pillow

.PHONY: help demo test test-slow check install system peers clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       install what is needed and run the main job"
	@echo "make test       install what is needed and run lint, types, contracts and the fast tests"
	@echo "make test-slow  run the tests marked slow"
	@echo "make check      run lint, types and import contracts only"
	@echo "make peers      build the side environments of the packages that robopref is compared with"
	@echo "make install    install again, for example after adding a compiler"
	@echo "make clean      remove caches and builds; .venv and runs/ stay"

demo: $(STAMP)
	$(BIN)/robopref demo

test: check
	$(PYTEST) -m "not slow and not robot"

test-slow: $(STAMP)
	$(PYTEST) -m "slow and not robot" --timeout 1800

# Cheapest first.
check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pyright

install:
	@rm -f $(STAMP)
	@$(MAKE) --no-print-directory $(STAMP)

# The first interpreter that can run robopref; 3.12 for LeRobot, which asks for it, and for Flexiv,
# which has no wheels for its neighbours.
oldest := python3.11 python3.12 python3.13 python3 python
twelve := python3.12
define find_python
	python=; \
	for name in $(PYTHON) $(1); do \
	  if "$$name" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then python="$$name"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "No Python 3.11 or newer with its venv module was found." >&2; \
	  echo "Install one, for example: sudo apt-get install -y python3.11 python3.11-venv" >&2; \
	  echo "or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; \
	  exit 1; \
	fi
endef

$(STAMP): pyproject.toml
	@$(MAKE) --no-print-directory system
	@$(call find_python,$(oldest)); \
	[ -x $(BIN)/python ] || { echo "Creating $(VENV) with $$python"; "$$python" -m venv $(VENV); }
	@# egl_probe, which robomimic needs, is compiled with cmake; old projects need the variable.
	@set -e; \
	export CMAKE_POLICY_VERSION_MINIMUM=3.5; \
	if ! command -v cmake >/dev/null; then \
	  $(BIN)/python -m pip install -q cmake; \
	  cmake_bin=$$($(BIN)/python -c 'import cmake; print(cmake.CMAKE_BIN_DIR)'); \
	  export PATH="$$cmake_bin:$$PATH"; \
	fi; \
	echo "Installing robopref; the first time takes some minutes"; \
	extras='$(EXTRAS)'; \
	if ! $(BIN)/python -m pip install -e ".[$$extras]"; then \
	  extras='$(FEWER_EXTRAS)'; \
	  $(BIN)/python -m pip install -e ".[$$extras]"; \
	  echo "NOTE: the robomimic extra could not be installed, see above; its tests are skipped." >&2; \
	  echo "It needs cmake and a C++ compiler: sudo apt-get install -y cmake g++ && make install" >&2; \
	fi; \
	echo "$$extras" > $@

# Rendering needs the system's GL libraries, and the robomimic extra a C++ compiler.
system:
	@$(call find_python,$(oldest)); \
	needed=$$("$$python" -c \
	  'from robopref.commands.doctor import missing_packages; print(*missing_packages())'); \
	compiler=; [ "$$(uname)" != Linux ] || command -v c++ >/dev/null || compiler=g++; \
	[ -n "$$needed$$compiler" ] || exit 0; \
	as_root="sudo -n"; [ "$$(id -u)" != 0 ] || as_root=; \
	if command -v apt-get >/dev/null && $$as_root true 2>/dev/null; then \
	  $$as_root apt-get update -qq; \
	  $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$needed $$compiler; \
	elif [ -n "$$needed" ]; then \
	  echo "System packages are missing. Install them, then run make again:" >&2; \
	  echo "  sudo apt-get install -y $$needed $$compiler" >&2; \
	  exit 1; \
	fi

peers: $(PEERS:%=.venv-%/versions.txt)

.venv-%/versions.txt:
	@$(call find_python,$(if $(filter lerobot flexiv,$*),$(twelve),$(oldest))); \
	"$$python" -m venv .venv-$*
	.venv-$*/bin/python -m pip install -q $(PEER_$*)
	.venv-$*/bin/python -m pip freeze > $@

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage \
	  .import_linter_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
