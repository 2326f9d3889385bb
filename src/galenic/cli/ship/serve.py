"""``galenic serve``: the assistant and a model behind HTTP, for the people at this machine."""

from __future__ import annotations

import os
from typing import Any

from galenic.cli.flags import parse_config, with_flags
from galenic.cli.output import echo
from galenic.serve.settings import ServeConfig

__all__ = ["EXAMPLES", "HELP", "command"]

KEY = "GALENIC_API_KEY"
HELP = (
    "Serve the assistant as a web page, and a model over an OpenAI-compatible API, on this "
    "machine only. Neither questions nor answers are logged, stored or sent on."
)
EXAMPLES = """
**Examples**

`galenic serve`

`galenic serve --model dose/ --port 9000`

`GALENIC_API_KEY=... galenic serve --host 0.0.0.0 --allow-host ward3.clinic.example`
"""


FIRST = ("model", "port", "api_key", "style", "threads")


@with_flags(ServeConfig, first=FIRST)
def command(**values: Any) -> None:
    """Serve a model."""
    if values.get("api_key") is None:
        values["api_key"] = os.environ.get(KEY)
    config = parse_config(ServeConfig, values)
    from galenic.assistant.model import judge_if, load_runtime
    from galenic.evaluation.chat.format import read_arguments
    from galenic.serve.app import NOTICE, create_app
    from galenic.serve.connections import Limits, most_connections
    from galenic.serve.listen import run, take_address
    from galenic.units import format_threads

    read_arguments(config.chat_template_kwargs)  # says a mistake before the model is loaded
    judge_if(False, config.entailment_model, config.style)
    with take_address(config) as door:
        limits = Limits(most_connections(config.max_connections))
        runtime = load_runtime(
            config.model,
            threads=config.threads,
            context_length=config.context_length,
            adapter=config.adapter,
        )
        info = runtime.info
        threads = format_threads(info.num_threads)
        echo(
            f"{info.model} ({info.weights}, {info.runtime} runtime, {threads})\n"
            f"page: http://{config.address}   API: http://{config.address}/v1   (Ctrl-C ends it)\n"
            f"{NOTICE}",
            err=True,
        )
        run(create_app(runtime, config.fitting(limits.total)), door, limits)
