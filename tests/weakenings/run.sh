#!/usr/bin/env bash
# Takes one piece of the commit protocol out of the real code at a time, and lets the simulation find the run
# that breaks: `bash tests/weakenings/run.sh [NAME...]`. Each patch beside this script must apply and must be
# caught. It works in a checkout of its own, but in this one's target directory; a piece takes a build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"
patches=$PWD/tests/weakenings
checkout=$(mktemp -d)
trap 'git worktree remove --force "$checkout"' EXIT
git worktree add --quiet --detach "$checkout" HEAD
names=("$@")
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(cd "$patches" && ls -- *.patch | sed 's/\.patch$//')
missed=0
for name in "${names[@]}"; do
    git -C "$checkout" checkout --quiet .
    git -C "$checkout" apply "$patches/$name.patch"
    (cd "$checkout" && cargo test --locked --quiet --test all --no-run)
    if told=$(cd "$checkout" && cargo test --locked --quiet --test all simulation::whatever 2>&1); then
        echo "$name: NOT CAUGHT"
        missed=1
    else
        echo "$name: $(grep -m 1 '^seed ' <<<"$told" | cut -c 1-160)"
    fi
done
exit "$missed"
