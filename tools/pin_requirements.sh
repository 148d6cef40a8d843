#!/usr/bin/env bash
# Writes requirements/run.txt and requirements/test.txt: every version and hash, for Python 3.10 to 3.13 on all systems.
# Needs uv. With `--upgrade` it takes the newest versions, else it changes only what pyproject.toml demands.
# PyTorch has a build for each kind of GPU and so no single hash. It is pinned by hand in requirements/torch.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export UV_CUSTOM_COMPILE_COMMAND="tools/pin_requirements.sh"

pin() {
  uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-annotate \
    --no-emit-package torch --no-emit-package hypernet pyproject.toml requirements/torch.txt "$@"
}

pin --extra cli --extra diffusers -o requirements/run.txt "$@"
pin requirements/test.in --extra dev -c requirements/run.txt -o requirements/test.txt "$@"
