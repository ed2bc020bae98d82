#!/bin/sh
# Everything that a GPU can tell, in under ten minutes: build, the test matrix on the GPU, compute-sanitizer, emulator
# against hardware, the checker's counts against Nsight Compute's, speed against stock torch. Installs nothing: it uses
# the python3 (or $PYTHON) that is there, with its torch >= 2.6, its Triton >= 3.4 if any, and nvcc. Writes
# bench/results/<date>-<gpu>.json.
#
#   bench/gpu_check.sh                 the check
#   bench/gpu_check.sh --rehearse      the same steps on the emulator, small, where there is no GPU
set -eu
cd "$(dirname "$0")/.."
exec "${PYTHON:-python3}" bench/gpu_check.py "$@"
