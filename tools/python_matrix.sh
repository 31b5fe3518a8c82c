#!/usr/bin/env bash
# All tests on several Pythons, each on a fresh clone of the last commit:
#
#   tools/python_matrix.sh python3.11 python3.12 /opt/python3.13/bin/python3
#
# Prints a line for each, and fails if one failed. The logs stay beside the clones.
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,6s/^# \?//p' "$0"; exit 2; }

project="$(cd "$(dirname "$0")/.." && pwd)"
work="$(mktemp -d)"
failed=0
for python in "$@"; do
    version="$("$python" -c 'import platform; print(platform.python_version())')"
    git clone --quiet "$project" "$work/$version"
    if make -C "$work/$version" test PYTHON="$(command -v "$python")" > "$work/$version.log" 2>&1; then
        outcome=passed
    else
        outcome=failed failed=1
    fi
    printf 'Python %s: %s. %s\n' "$version" "$outcome" "$(tail -n 1 "$work/$version.log")"
done
echo "Logs: $work"
exit "$failed"
