"""Ports of the loopback interface for processes that are told where to listen."""

import random
import socket
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """So many ports that nothing uses now, and that the system gives to nobody who asks for just any port."""
    lowest = 32768
    configured = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if configured.exists():
        lowest = int(configured.read_text().split()[0])
    candidates = random.sample(range(10_240, lowest), 500)
    held: list[socket.socket] = []
    try:
        for port in candidates:
            probe = socket.socket()
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                probe.close()
                continue
            held.append(probe)
            if len(held) == count:
                return [sock.getsockname()[1] for sock in held]
    finally:
        for sock in held:
            sock.close()
    raise RuntimeError(f"no {count} free ports between 10240 and {lowest}")
