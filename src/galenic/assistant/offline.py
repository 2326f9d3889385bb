"""Take the network away from this process for good.

On Linux the kernel does it: a seccomp filter (https://docs.kernel.org/userspace-api/seccomp_filter.html)
answers every ``socket`` call but those for UNIX sockets, which do not leave the machine. It holds
for native libraries too, for all threads and for programs that are started later, and cannot be
taken back. Python's audit hooks (PEP 578) refuse the same on every system, and count; native code
does not pass them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
import sys
from dataclasses import dataclass, field

__all__ = ["Refused", "kernel_refuses", "python_refuses"]


@dataclass(frozen=True)
class _Machine:
    """Numbers of system calls, from the kernel's tables, and of the architecture in its audit."""

    audit: int
    seccomp: int
    socket: int


_MACHINES = {
    "x86_64": _Machine(audit=0xC000003E, seccomp=317, socket=41),
    "aarch64": _Machine(audit=0xC00000B7, seccomp=277, socket=198),
}
_IO_URING_SETUP = 425
"""It could open sockets without a call of its own; the same number everywhere."""
_X32 = 0x40000000
"""From here on x86_64 has a second table of calls."""
_NO_NEW_PRIVILEGES, _SET_FILTER, _ALL_THREADS = 38, 1, 1
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _MACHINE_AT, _FAMILY_AT = 0, 4, 16
"""In the kernel's struct seccomp_data; an argument's lower half comes first on both machines."""
_ALLOW, _FAIL, _KILL = 0x7FFF0000, 0x00050000, 0x80000000


def kernel_refuses(*, kill: bool = False) -> bool:
    """Let the kernel refuse network sockets to this process and all that it starts.

    Args:
        kill: whoever asks for one is killed (SIGSYS), instead of told that it may not.

    Returns:
        Whether the kernel does so; not on other systems than Linux, or where it cannot.
    """
    machine = _MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None or sys.byteorder != "little":
        return False
    code = _program(machine, _KILL if kill else _FAIL | errno.EPERM)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(
        struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    )
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    if library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return False
    done = library.syscall(
        ctypes.c_long(machine.seccomp),
        ctypes.c_long(_SET_FILTER),
        ctypes.c_long(_ALL_THREADS),
        program,
    )
    return bool(done == 0)


def _program(machine: _Machine, refuse: int) -> bytes:
    """The filter: steps of (code, skip when true, skip when false, value)."""
    steps = [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_EQUAL, 0, 6, machine.audit),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 4, 0, _X32),
        (_EQUAL, 3, 0, _IO_URING_SETUP),
        (_EQUAL, 0, 3, machine.socket),
        (_LOAD, 0, 0, _FAMILY_AT),
        (_EQUAL, 1, 0, socket.AF_UNIX),
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


@dataclass
class Refused:
    """What Python code asked of the network since, by the names of its audit events."""

    calls: list[str] = field(default_factory=list)


_LOOKUPS = frozenset(
    f"socket.{name}"
    for name in ("getaddrinfo", "gethostbyname", "gethostbyaddr", "getnameinfo", "getservbyname")
)
_USES = frozenset(f"socket.{name}" for name in ("connect", "sendto", "sendmsg", "bind"))


def python_refuses() -> Refused:
    """Refuse network sockets and names to all Python code in this process, and count."""
    refused = Refused()

    def hook(event: str, args: tuple[object, ...]) -> None:
        if not event.startswith("socket."):
            return
        family = getattr(socket, "AF_UNIX", None)
        outside = event in _LOOKUPS
        if event == "socket.__new__":
            outside = args[1] not in (family, -1)  # -1: of a file that is open already
        elif event in _USES:
            outside = getattr(args[0], "family", None) != family
        if outside:
            refused.calls.append(event)
            raise PermissionError(errno.EPERM, f"{event}: {os.strerror(errno.EPERM)}")

    sys.addaudithook(hook)
    return refused
