#!/usr/bin/env bash
# Runs the optimizer's peers on the public problems and on real tuning, and writes what they reached as JSON.
#
#   layer5-bench/peers/optimize.sh [--seeds N] [--layer5 PATH] > peers.json
#   layer5-bench quality optimize --peers peers.json
#
# Python packages go into a virtual environment in a temporary folder, which is removed. Needs python3 with venv.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf -- "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" -q install optuna cma scipy scikit-learn egobox rustuna cmaes botorch-rust >&2
"$dir/venv/bin/python" "$here/optimize.py" "$@"
