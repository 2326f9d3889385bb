"""Child process that times one model once (run with ``python -m``).

Takes the settings as a JSON argument and prints the result as the last line of its output.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.models.files import ModelFiles
from galenic.registry import RUNTIMES
from galenic.runtimes.base import Runtime

__all__ = ["main", "peak_rss"]

WARM_TOKENS = 4
PASSES = 3
"""Timed passes per process; the best counts, since disturbances can only slow down."""
_TEXT = "the patient was seen in the clinic with a fever and a rash on both arms since"


def main(settings: dict[str, Any]) -> dict[str, Any]:
    """Load the model, warm up, time one prompt and its continuation `PASSES` times.

    Returns:
        ``prefill`` and ``decode`` in tokens/s, ``first_token_ms``, ``peak_rss`` in bytes,
        ``prompt_tokens``, and ``weights`` and ``engine`` as the runtime states them.
    """
    model = ModelFiles(**settings["model"] | {"path": Path(settings["model"]["path"])})
    options: dict[str, Any] = {"threads": settings["threads"]}
    engine = RUNTIMES.load(settings["runtime"])
    if engine.dtypes:
        options["dtype"] = settings["dtype"]
    with engine(model, **options) as runtime:
        prompt = _prompt(runtime, settings["prompt_tokens"])
        num_prompt = len(runtime.encode_batch([prompt])[0])
        # The first pass loads the weights into memory and creates the context.
        runtime.time_tokens(prompt, WARM_TOKENS)
        passes = [runtime.time_tokens(prompt, settings["new_tokens"]) for _ in range(PASSES)]
        first = min(times[0] for times in passes)
        rest = min(times[-1] - times[0] for times in passes)
        return {
            "prefill": num_prompt / first,
            "decode": (settings["new_tokens"] - 1) / rest,
            "first_token_ms": 1000 * first,
            "peak_rss": peak_rss(),
            "prompt_tokens": num_prompt,
            "weights": runtime.info.weights,
            "engine": runtime.info.engine,
        }


def _prompt(runtime: Runtime, num_tokens: int) -> str:
    """Return a text of about ``num_tokens`` tokens; encoding it again may differ by a token."""
    words = _TEXT.split()
    text = " ".join(words[i * 7 % len(words)] for i in range(num_tokens))
    return runtime.decode(runtime.encode_batch([text])[0][:num_tokens])


def peak_rss() -> int:
    """Return the peak memory of this process in bytes, including mapped files (the weights).

    On Linux it is counted from the start of the program; ``ru_maxrss`` would include the peak of
    the parent process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


if __name__ == "__main__":
    try:
        answer = main(json.loads(sys.argv[1]))
    except UserError as error:
        answer = {"error": str(error)}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
