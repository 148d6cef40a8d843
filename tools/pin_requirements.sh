#!/usr/bin/env bash
# Writes requirements.txt and requirements-dev.txt anew: every version and hash, for Python 3.10 to 3.13 on all systems.
# Needs uv. `--upgrade` takes newer versions; without it only what pyproject.toml demands changes.
# PyTorch has a build for each kind of GPU and so no single hash: it is pinned by hand, in requirements-torch.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export UV_CUSTOM_COMPILE_COMMAND="tools/pin_requirements.sh"

pin() {
  uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-annotate \
    --no-emit-package torch --no-emit-package hypernet pyproject.toml requirements-torch.txt "$@"
}

pin --extra cli --extra diffusers -o requirements.txt "$@"
pin requirements-dev.in --extra dev -c requirements.txt -o requirements-dev.txt "$@"
