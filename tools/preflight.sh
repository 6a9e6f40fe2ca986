#!/bin/sh
# Checks that this machine can build the project and prints the Python to use, alone on standard output.
# Everything that is missing is named at once, on standard error, with the command that installs it; then it exits with 1.
set -u

rust_floor=1.88 # `rust-version` in Cargo.toml
missing=0

installer() { # installer DEBIAN FEDORA MACOS: the command for this machine's package manager
    if command -v apt-get >/dev/null 2>&1; then echo "apt-get install $1"
    elif command -v dnf >/dev/null 2>&1; then echo "dnf install $2"
    elif command -v brew >/dev/null 2>&1; then echo "$3"
    else echo "your package manager's package: $1"
    fi
}

need() { # need WHAT COMMAND
    printf 'missing: %s\n    install it with: %s\n' "$1" "$2" >&2
    missing=1
}

at_least() { # at_least FLOOR VERSION, both MAJOR.MINOR...
    [ "$(printf '%s\n%s\n' "$1" "$2" | sort -t. -k1,1n -k2,2n | head -n 1)" = "$1" ]
}

usable_python() { # exists, is new enough, and can make virtual environments with pip in them
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 &&
        "$1" -c 'import venv, ensurepip' >/dev/null 2>&1
}

if ! command -v cargo >/dev/null 2>&1; then
    need "Rust $rust_floor or newer (cargo is not on PATH)" "see https://rustup.rs, or $(installer cargo cargo 'brew install rust')"
else
    rust=$(rustc --version 2>/dev/null | cut -d' ' -f2)
    at_least "$rust_floor" "${rust:-0}" || need "Rust $rust_floor or newer (found ${rust:-none})" "rustup update stable"
fi

command -v cc >/dev/null 2>&1 || need "a C compiler (cc is not on PATH)" "$(installer gcc gcc 'xcode-select --install')"

python=
for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python; do
    [ -n "$candidate" ] || continue
    if usable_python "$candidate"; then
        python=$("$candidate" -c 'import sys; print(sys.executable)') # the program itself, not a version manager's shim
        break
    fi
done
[ -n "$python" ] || need "Python 3.11 or newer with venv and ensurepip (set PYTHON=/path/to/python3 to name one)" \
    "$(installer 'python3 python3-venv' python3 'brew install python')"

[ "$missing" -eq 0 ] || exit 1
printf '%s\n' "$python"
