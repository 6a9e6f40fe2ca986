#!/bin/sh
# Sees to it that there is a Chromium for the tests of the pages that the simulator writes.
set -u
for name in chromium chromium-browser chromium-headless-shell google-chrome; do
    command -v "$name" && exit 0
done
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null && command -v chromium && exit 0
fi
printf 'missing: Chromium, in which the tests look at pages\n    install it with: apt-get install chromium\n' >&2
exit 1
