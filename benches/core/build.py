"""Builds the Rust half: our core and raft-rs behind the same loop, in a workspace of its own."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
MANIFEST = HERE / "rust" / "Cargo.toml"
TARGET = HERE.parent.parent / "build" / "core-bench"
# raft-rs generates code with protoc when it is built; one of its own dependencies brings these.
PROTOC = {("Linux", "x86_64"): "protoc-linux-x86_64", ("Linux", "aarch64"): "protoc-linux-aarch_64"}


def protoc() -> str | None:
    """A protobuf compiler: the machine's, or the one in the sources of `protobuf-build`."""
    found = os.environ.get("PROTOC") or shutil.which("protoc")
    name = PROTOC.get((platform.system(), platform.machine()))
    if found or name is None:
        return found
    metadata = subprocess.run(
        ["cargo", "metadata", "--locked", "--format-version", "1", "--manifest-path", MANIFEST],
        check=True,
        stdout=subprocess.PIPE,
    )
    packages = json.loads(metadata.stdout)["packages"]
    places = [Path(package["manifest_path"]).parent for package in packages if package["name"] == "protobuf-build"]
    return next((str(place / "bin" / name) for place in places if (place / "bin" / name).exists()), None)


def build(codec: str) -> Path:
    """The program, optimized as the wheel is, with raft-rs's codec `rust-protobuf` or `prost`."""
    compiler, target = protoc(), TARGET / codec
    subprocess.run(
        [
            *("cargo", "build", "--release", "--locked", "--quiet", "--no-default-features", "--features", codec),
            *("--manifest-path", str(MANIFEST), "--target-dir", str(target)),
        ],
        check=True,
        env=os.environ | ({"PROTOC": compiler} if compiler else {}),
    )
    return target / "release" / "core-bench"
