# `make demo` and `make test` set everything up in .venv by themselves.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Off-screen 3D pictures need EGL with a software driver, which a bare Debian lacks.
define SYSTEM_PACKAGES
dpkg -s libegl1 libgl1-mesa-dri >/dev/null 2>&1 || \
if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	apt-get update -qq && apt-get install -qq -y --no-install-recommends libegl1 libgl1-mesa-dri; \
else \
	echo "For 3D pictures, please install EGL: sudo apt-get install libegl1 libgl1-mesa-dri"; \
fi
endef

.PHONY: setup demo test lint train train-radsam measure evaluate benchmark clean
setup: $(READY)

# sam2 on PyPI is a source distribution: built in place against the torch that is already there, and
# without its CUDA extension, it takes seconds and never brings a second torch. It needs no
# torchvision for what is used here.
$(READY): pyproject.toml Makefile
	@$(SYSTEM_PACKAGES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip setuptools wheel
	$(BIN)/pip install --quiet "torch==2.13.0"
	SAM2_BUILD_CUDA=0 $(BIN)/pip install --quiet --no-build-isolation --no-deps "sam2==1.1.0"
	$(BIN)/pip install --quiet --no-warn-conflicts --editable ".[render,train,evaluate,cluster,test]"
	touch $@

# The main job on an embedded phantom (make demo OBJECT=liver), or on your own volume:
# make demo VOLUME=ct.nii.gz POINT=120,140,40
VOLUME ?=
POINT ?=
OBJECT ?=
OUT ?= demo-output
demo: $(READY)
	$(BIN)/sam2medical3d demo --out $(OUT) $(if $(VOLUME),--volume "$(VOLUME)") $(if $(POINT),--point=$(POINT)) $(if $(OBJECT),--object "$(OBJECT)")

test: $(READY) lint
	$(BIN)/python -m pytest -q

lint: $(READY)
	$(BIN)/ruff check .

# Train the bundled SAM 2 and SAM2-3dMed models; interrupt it and call it again to go on. About four hours
# on two cores. SAM 2 from nothing, SAM2-3dMed from it, both on real anatomy, SAM 2 once more.
RUN ?= runs
TRAIN := $(BIN)/python -m SAM2Medical3DLib.training
train: $(READY)
	$(TRAIN) bundled --out $(RUN)/bundled
	$(TRAIN) sam2-3dmed --frozen image_encoder.trunk. --out $(RUN)/3dmed \
		--start-from $(RUN)/bundled/sam2medical3d-small.safetensors
	$(TRAIN) anatomy --workers 2 --out $(RUN)/anatomy \
		--start-from $(RUN)/3dmed/sam2medical3d-3dmed.safetensors
	$(TRAIN).without_boundary $(RUN)/anatomy/sam2medical3d-3dmed.safetensors $(RUN)/without-boundary.safetensors
	$(TRAIN) anatomy-sam2 --workers 2 --out $(RUN)/anatomy-sam2 --start-from $(RUN)/without-boundary.safetensors

# The bundled RadSAM. About an hour on two cores.
train-radsam: $(READY)
	$(BIN)/python -m SAM2Medical3DLib.training radsam --out runs/radsam

# Dice on the real development volumes, where there are any; make measure METHOD=radsam.
DATA ?= ../shared/data
METHOD ?= sam2
measure: $(READY)
	$(BIN)/python -m SAM2Medical3DLib.evaluation --data $(DATA) --method $(METHOD)

# All methods with their bundled weights, by all protocols, on phantoms and on the real development
# volumes where there are any: docs/results/. About half an hour on two cores;
# interrupt it and call it again to go on. No picture of a real volume is written.
METHODS ?= sam2 radsam sam2-3dmed
STRUCTURES := spleen "right kidney" "left kidney" liver stomach aorta lesion \
	T12 colon "vena cava" tumour
RESULTS := runs/evaluation
evaluate: $(READY)
	$(BIN)/sam2medical3d evaluate --out $(RESULTS) --method $(METHODS) --protocol all --salient-area both \
		--cases phantom:2 $(if $(wildcard $(DATA)/ct-abdomen-3mm),development:$(DATA)) \
		--labels $(STRUCTURES) --ray --no-patient-images
	rm -rf docs/results
	mkdir -p docs/results
	cp -r $(RESULTS)/plots $(RESULTS)/results.csv $(RESULTS)/run.json docs/results
	cp $(RESULTS)/report.md docs/results/README.md

# Memory and time against the number of slices, and against the official predictor.
benchmark: $(READY)
	$(BIN)/python -m SAM2Medical3DLib.evaluation.benchmark

clean:
	rm -rf $(VENV) demo-output build dist
