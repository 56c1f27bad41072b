#!/usr/bin/env bash
# Validates template.yaml from a bare checkout: installs the tools where they are missing or out of date, proves that
# they find faults, then looks for faults. PYTHON names the interpreter, python3 by default.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
top="$(cd "$here/../.." && pwd)"

# The requirements are copied in last, so that an environment that was left half installed is made anew.
install() {
    local environment="$1" requirements="$2"
    if cmp --silent "$requirements" "$environment/requirements.txt"; then
        return
    fi
    echo "installing $(basename "$environment")"
    "${PYTHON:-python3}" -m venv --clear "$environment"
    echo '*' > "$environment/.gitignore"
    "$environment/bin/pip" install --quiet --disable-pip-version-check --no-input --requirement "$requirements"
    cp "$requirements" "$environment/requirements.txt"
}

install "$top/.venv-checkov" "$here/requirements-checkov.txt" &
checkov=$!
install "$top/.venv-sam" "$here/requirements.txt"
wait "$checkov"

"$top/.venv-sam/bin/python" "$here/validate.py" --self-test
"$top/.venv-sam/bin/python" "$here/validate.py"
