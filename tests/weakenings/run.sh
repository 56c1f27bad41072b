#!/usr/bin/env bash
# Takes one piece of the commit protocol out of the real code at a time, and lets the tests find what breaks:
# `bash tests/weakenings/run.sh [NAME...]`. Each patch beside this script must apply to HEAD, and build, and be
# seen: a condition of the requests to DynamoDB (`store-*`) by the stores' suite on the embedded one, any other by
# the simulation. What is not committed is not tested. It works in a checkout of its own, but in this one's
# target directory; a piece takes a build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"
export SIMULATION_SEEDS="${SIMULATION_SEEDS:-20000}"
unset TIDEMARK_TEST_DYNAMODB
checkout=$(mktemp -d)
trap 'git worktree remove --force "$checkout"' EXIT
git worktree add --quiet --detach "$checkout" HEAD
cd "$checkout"
names=("$@")
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(cd tests/weakenings && ls -- *.patch | sed 's/\.patch$//')

# Sets the tests that a piece's absence fails, and the line in which they tell what they saw. A build that breaks,
# a test that cannot run and a request that no store takes (`called Result::unwrap() on ...`) show nothing.
look_for() {
    case $1 in
    store-*) tests=stores::every_store told='embedded fails [a-z_0-9]*: |^assertion .* failed: seed ' ;;
    *) tests=simulation::whatever told='^seed ' ;;
    esac
}

missed=0
for name in "${names[@]}"; do
    git checkout --quiet .
    git apply "tests/weakenings/$name.patch"
    look_for "$name"
    cargo test --locked --quiet --workspace --test all --no-run
    if output=$(cargo test --locked --quiet --workspace --test all "$tests" 2>&1); then
        echo "$name: NOT SEEN"
        missed=1
        continue
    fi
    seen=$(grep -E "$told" <<<"$output" | grep -v -m 1 'called `' || true)
    if [ -n "$seen" ]; then
        echo "$name: $(sed 's/^ *"*//' <<<"$seen" | cut -c 1-160)"
    else
        echo "$name: FAILED OTHERWISE"
        tail -n 40 <<<"$output" >&2
        missed=1
    fi
done
exit "$missed"
