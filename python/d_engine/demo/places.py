"""Where the nodes keep their data: a directory on a disk, not in memory."""

import tempfile
from pathlib import Path

IN_MEMORY = ("tmpfs", "ramfs")


def file_system(path: Path) -> str:
    """The type of the file system that holds the path, where the system tells (Linux), else ""."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return ""
    best, kind = "", ""
    for line in mounts.read_text(encoding="utf-8").splitlines():
        _, point, found, *_ = line.split(" ")
        inside = path.is_relative_to(point.replace("\\040", " "))
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind


def make_place(directory: Path | None) -> Path:
    """The given directory, which must be empty, or a new temporary one on a file system that is a disk, if there is one."""
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise ValueError(f"{directory} is not empty: the demo starts new nodes, name an empty or new directory")
        return directory.resolve()
    candidates = [Path(tempfile.gettempdir()).resolve(), Path("/var/tmp"), Path.cwd()]  # noqa: S108 (only mkdtemp is used in it)
    disks = [path for path in candidates if path.is_dir() and file_system(path) not in IN_MEMORY]
    return Path(tempfile.mkdtemp(prefix="d-engine-demo-", dir=(disks or candidates)[0]))
