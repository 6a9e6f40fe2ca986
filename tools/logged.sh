#!/bin/sh
# logged.sh FILE COMMAND...: runs each command in turn, shows its output and keeps it in FILE; stops at the first that
# fails, with its exit code (which a plain pipe into tee would lose).
set -u
file=$1
shift
: >"$file"
for command in "$@"; do
    printf '$ %s\n' "$command" | tee -a "$file"
    { sh -c "$command" 2>&1; echo $? >"$file.code"; } | tee -a "$file"
    code=$(cat "$file.code")
    rm -f "$file.code"
    [ "$code" -eq 0 ] || exit "$code"
done
