"""Irrevocably block network access for the current process.

On Linux the kernel enforces this: a seccomp filter
(https://docs.kernel.org/userspace-api/seccomp_filter.html) rejects every ``socket`` call except
those for UNIX sockets, which are local to the machine. The filter also covers native libraries, all
threads and all child processes, and cannot be removed. In addition, on every system, Python audit
hooks (PEP 578) reject the same calls and record them; audit hooks do not see calls from native
code.
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
    """Constants of a CPU architecture that the seccomp filter needs.

    Attributes:
        audit: ``AUDIT_ARCH_*`` value that identifies the architecture.
        seccomp: number of the ``seccomp`` system call.
        socket: number of the ``socket`` system call.
    """

    audit: int
    seccomp: int
    socket: int


_MACHINES = {
    "x86_64": _Machine(audit=0xC000003E, seccomp=317, socket=41),
    "aarch64": _Machine(audit=0xC00000B7, seccomp=277, socket=198),
}
_IO_URING_SETUP = 425
"""System call number of ``io_uring_setup`` on all architectures. It is blocked as well, since
io_uring can open sockets without a ``socket`` call."""
_X32 = 0x40000000
"""Lowest system call number of the x32 ABI on x86_64, a second table of calls that is blocked as a
whole."""
_NO_NEW_PRIVILEGES, _SET_FILTER, _ALL_THREADS = 38, 1, 1
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _MACHINE_AT, _FAMILY_AT = 0, 4, 16
"""Byte offsets in the kernel's ``struct seccomp_data`` of the call number, the architecture, and
the low half of the first argument (both architectures are little-endian)."""
_ALLOW, _FAIL, _KILL = 0x7FFF0000, 0x00050000, 0x80000000


def kernel_refuses(*, kill: bool = False) -> bool:
    """Install a seccomp filter that blocks network sockets in this process and its children.

    Args:
        kill: kill a process that asks for a network socket (SIGSYS), instead of returning ``EPERM``
            to it.

    Returns:
        Whether the filter is active. False on systems other than Linux, on architectures other than
        x86_64 and aarch64, and where the kernel does not allow filters.
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
    """Assemble the filter as classic BPF code, 8 bytes per instruction (``struct sock_filter``).

    Args:
        machine: constants of the CPU architecture.
        refuse: seccomp return value for blocked calls, such as ``_FAIL | errno.EPERM``.
    """
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
    """Record of network calls by Python code that were rejected.

    Attributes:
        calls: names of the audit events, such as ``socket.connect``, in order of occurrence.
    """

    calls: list[str] = field(default_factory=list)


_LOOKUPS = frozenset(
    f"socket.{name}"
    for name in ("getaddrinfo", "gethostbyname", "gethostbyaddr", "getnameinfo", "getservbyname")
)
_USES = frozenset(f"socket.{name}" for name in ("connect", "sendto", "sendmsg", "bind"))


def python_refuses() -> Refused:
    """Install an audit hook that rejects network sockets and name look-ups by Python code.

    The hook raises PermissionError in the code that asked for network access, and cannot be removed
    from the process.

    Returns:
        The record of rejected calls, which the hook goes on updating.
    """
    refused = Refused()

    def hook(event: str, args: tuple[object, ...]) -> None:
        if not event.startswith("socket."):
            return
        family = getattr(socket, "AF_UNIX", None)
        outside = event in _LOOKUPS
        if event == "socket.__new__":
            outside = args[1] not in (family, -1)  # -1: wraps an open file descriptor
        elif event in _USES:
            outside = getattr(args[0], "family", None) != family
        if outside:
            refused.calls.append(event)
            raise PermissionError(errno.EPERM, f"{event}: {os.strerror(errno.EPERM)}")

    sys.addaudithook(hook)
    return refused
