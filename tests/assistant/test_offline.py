"""No network: refused by the kernel, seen at the system calls, and without any interface."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from commands import GALENIC
from galenic.assistant import DEFAULT_MODEL, prove
from galenic.assistant.prove import Proof, prove_offline, read_proof
from galenic.cli.main import app
from galenic.offline import kernel_refuses
from galenic.retrieval.index import index_folder
from watching import Notes

QUESTION = "Burning when I pee. Could this be a UTI?"
linux = pytest.mark.skipif(sys.platform != "linux", reason="seccomp is of Linux")


def python(code: str, *before: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own: what it gives up does not come back."""
    return subprocess.run(
        [*before, sys.executable, "-c", code], capture_output=True, text=True, check=False
    )


@pytest.fixture
def ready(tmp_path: Path, embedded: str) -> None:
    """An index, and the model that need not be fetched."""
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "uti.md").write_text(
        "# UTI\n\nA UTI makes burning, frequent urination. It is urgent with fever. "
        "A doctor can test a sample at the appointment.\n"
    )
    index_folder(folder, Notes())


@linux
def test_the_kernel_refuses_native_code_threads_and_children() -> None:
    done = python(
        "import ctypes, os, socket, subprocess, sys, threading\n"
        "from galenic.offline import kernel_refuses\n"
        "begin, end = threading.Event(), []\n"
        "def later():\n"
        "    begin.wait()\n"
        "    library = ctypes.CDLL(None, use_errno=True)\n"
        "    end.append((library.socket(2, 1, 0), ctypes.get_errno()))\n"
        "thread = threading.Thread(target=later)\n"
        "thread.start()\n"
        "assert socket.socket().close() is None\n"
        "assert kernel_refuses()\n"
        "begin.set(); thread.join()\n"
        "child = subprocess.run([sys.executable, '-c', 'import socket; socket.socket()'],\n"
        "                       capture_output=True, text=True)\n"
        "a, b = socket.socketpair()\n"
        "a.send(b'on this machine'); said = b.recv(99).decode()\n"
        "ring = ctypes.CDLL(None, use_errno=True).syscall(425, 1, None)\n"
        "print(end[0], child.stderr.strip().splitlines()[-1], said, ring, sep='|')\n"
    )
    thread, child, said, ring = done.stdout.strip().split("|")
    assert thread == "(-1, 1)"  # EPERM, also in a thread from before
    assert child.startswith("PermissionError")
    assert said == "on this machine"  # UNIX sockets stay
    assert ring == "-1"


@linux
def test_who_asks_is_killed_where_that_is_wanted() -> None:
    done = python(
        "import ctypes\n"
        "from galenic.offline import kernel_refuses\n"
        "assert kernel_refuses(kill=True)\n"
        "print('before', flush=True)\n"
        "ctypes.CDLL(None).socket(10, 2, 0)\n"
        "print('after')\n"
    )
    assert (done.stdout, done.returncode) == ("before\n", -31)


def test_python_refuses_and_counts_everywhere() -> None:
    done = python(
        "import socket\n"
        "from galenic.offline import python_refuses\n"
        "there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "refused = python_refuses()\n"
        "for call in (socket.socket, lambda: there.sendto(b'', ('127.0.0.1', 9)),\n"
        "             lambda: there.connect(('127.0.0.1', 9)),\n"
        "             lambda: socket.getaddrinfo('localhost', 80),\n"
        "             lambda: socket.create_connection(('127.0.0.1', 9))):\n"
        "    try:\n"
        "        call()\n"
        "        print('not refused')\n"
        "    except PermissionError:\n"
        "        pass\n"
        "print(*refused.calls)\n"
    )
    assert done.stdout.split() == [
        "socket.__new__", "socket.sendto", "socket.connect", "socket.getaddrinfo",
        "socket.getaddrinfo",
    ]  # fmt: skip


@pytest.mark.slow
@linux
@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("ctypes.CDLL(None).socket(2, 1, 0)", "the kernel stopped it"),
        (
            "subprocess.run(['bash', '-c', 'exec 3<>/dev/tcp/127.0.0.1/9'], check=True)",
            "died with <Signals.SIGSYS",
        ),
    ],
)
def test_a_call_during_the_answer_is_no_proof(call: str, error: str) -> None:
    code = (
        "import ctypes, subprocess, sys, json\n"
        "from dataclasses import asdict\n"
        "from galenic.assistant import prove\n"
        f"prove.ask = lambda *a, **k: {call}\n"
        "print(json.dumps(asdict(prove.main('x', None))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    proof = read_proof(done)
    assert not proof.passed
    assert error in proof.error


@pytest.mark.slow
def test_an_error_is_no_proof() -> None:
    broken = subprocess.CompletedProcess[bytes]([], 1, b"half {", b"Traceback\nMemoryError: big\n")
    assert read_proof(broken) == Proof(False, error="the process ended with 1: MemoryError: big")
    assert "unknown model" in prove_offline("no-such-model").error


@pytest.mark.slow
def test_a_whole_answer_without_a_network(ready: None, monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(app, ["doctor", "--prove-offline", "--json"])
    proof = json.loads(result.stdout)
    assert (result.exit_code, proof["passed"], proof["error"], proof["calls"]) == (0, True, "", [])
    assert (proof["model"], proof["tier"]) == (DEFAULT_MODEL, "days")
    assert proof["sources"] >= 1
    assert proof["tokens"] == 32
    assert proof["sentences"] > 3
    assert proof["kernel"] == (sys.platform == "linux")
    assert len(proof["refused"]) == (5 if proof["kernel"] else 3)
    monkeypatch.setattr(prove, "prove_offline", lambda model: Proof(**proof))  # the same in words
    said = CliRunner().invoke(app, ["doctor", "--prove-offline"])
    assert "Nothing asked for the network." in " ".join(said.stdout.split())


@pytest.mark.slow
def test_a_failure_is_said_with_status_1(embedded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Proof(False, kernel=True, error="something asked")
    monkeypatch.setattr(prove, "prove_offline", lambda model: failed)
    for flags in ([], ["--json"]):
        result = CliRunner().invoke(app, ["doctor", "--prove-offline", *flags])
        assert result.exit_code == 1
        assert "something asked" in result.stdout
    assert json.loads(result.stdout) == json.loads(json.dumps(asdict(failed)))


def traced(log: Path, *arguments: str, flags: tuple[str, ...] = ()) -> list[str]:
    """The socket calls of a command and all that it started, as the kernel saw them."""
    which = ["-e", "trace=socket,connect,sendto,sendmsg", "-o", str(log)]
    strace = ["strace", "-f", "-qq", *flags, *which]
    if shutil.which("strace") is None or subprocess.run([*strace, "true"], check=False).returncode:
        pytest.skip("strace is not installed, or may not trace here")
    done = subprocess.run(
        [*strace, *GALENIC, *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [line for line in log.read_text().splitlines() if re.search(r"AF_(?!UNIX)", line)]


@linux
@pytest.mark.slow
def test_an_answer_makes_no_network_call_of_its_own_accord(ready: None, tmp_path: Path) -> None:
    """Nothing is refused here: nothing is tried."""
    only = ("--seccomp-bpf",)  # stops at these calls alone; behind a filter of our own it sees none
    assert traced(tmp_path / "log", "ask", "--json", QUESTION, flags=only) == []


@linux
@pytest.mark.slow
def test_of_the_proof_the_kernel_sees_only_what_it_refuses(ready: None, tmp_path: Path) -> None:
    calls = traced(tmp_path / "log", "doctor", "--prove-offline", "--json")
    assert len(calls) >= 2
    assert all("EPERM" in line for line in calls), calls


@linux
@pytest.mark.slow
def test_an_answer_needs_no_interface_at_all(ready: None) -> None:
    alone = ["unshare", "--net", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("no network namespace can be made here (unshare)")
    done = subprocess.run(
        [*alone, *GALENIC, "ask", "--json", QUESTION],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert any(event["event"] == "sentence" for event in said)


def test_elsewhere_it_is_said_that_only_python_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert kernel_refuses() is False
