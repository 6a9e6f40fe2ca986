#!/bin/sh
# Refuses source files that have grown too long to be read in one go: about 500 lines.
set -u
limit=550
find rust python tests examples benches tools proto \( -name '*.rs' -o -name '*.py' -o -name '*.pyi' -o -name '*.proto' \) -type f |
    grep -v '/node_modules/' | sort | xargs wc -l |
    awk -v limit="$limit" '$2 != "total" && $1 > limit { print $2 ": " $1 " lines, more than " limit; bad = 1 } END { exit bad }'
