"""Peak memory of pruning against the number of layers.

Writes synthetic Llamas of one width and 4, 8, 16 and 32 layers (each in a process of its own),
prunes each in a fresh process, and prints the peak resident memory of that process. Target:
32 layers take at most 1.25 times what 4 layers take.

    python benchmarks/compress_memory.py [--hidden 512] [--methods wanda sparsegpt]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

LAYERS = (4, 8, 16, 32)
TARGET = 1.25
WRITE = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch, transformers
from tiny_hf import write_tiny_tokenizer
folder = Path({folder!r}); folder.mkdir()
size = len(write_tiny_tokenizer(folder))
config = transformers.LlamaConfig(vocab_size=size, hidden_size={hidden},
    intermediate_size=3 * {hidden},
    num_hidden_layers={layers}, num_attention_heads={hidden} // 64,
    num_key_value_heads={hidden} // 128, max_position_embeddings=512, tie_word_embeddings=True)
torch.manual_seed(0)
transformers.LlamaForCausalLM(config).save_pretrained(folder)
"""
PRUNE = """
import json, resource
from pathlib import Path
from galenic.compression.prune.config import PruneConfig
from galenic.compression.prune.run import prune
from galenic.registry import PRUNERS
class Silent:
    def stage(self, text, total=None, done=0): pass
    def advance(self, done, note=""): pass
    def say(self, text): pass
    def keep(self, text): pass
config = PruneConfig(model={folder!r}, method={method!r}, text={text!r},
    num_samples=16, seq_len=128)
prune(config, PRUNERS.load({method!r})(), Path({output!r}), Silent())
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
"""


def run(code: str, **values: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code.format(**values)], check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=512, help="width, a multiple of 128")
    parser.add_argument("--methods", nargs="+", default=["wanda", "sparsegpt"])
    given = parser.parse_args()
    tests = str(Path(__file__).parents[1] / "tests")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        text = scratch / "text.txt"
        lines = [f"The patient number {i} was seen on day {i * i}." for i in range(2000)]
        text.write_text("\n\n".join(lines), encoding="utf-8")
        for layers in LAYERS:
            folder = str(scratch / str(layers))
            run(WRITE, tests=tests, folder=folder, hidden=given.hidden, layers=layers)
        for method in given.methods:
            peaks = {}
            for layers in LAYERS:
                folder, output = scratch / str(layers), scratch / f"{method}-{layers}"
                peaks[layers] = json.loads(
                    run(
                        PRUNE, folder=str(folder), method=method, text=str(text), output=str(output)
                    )
                )
                weights = (folder / "model.safetensors").stat().st_size
                print(
                    f"{method:10} {layers:3} layers  weights {weights / 1e6:7.1f} MB  "
                    f"peak {peaks[layers] / 1e6:7.1f} MB",
                    flush=True,
                )
            ratio = peaks[LAYERS[-1]] / peaks[LAYERS[0]]
            print(f"{method:10} 32 / 4 layers: {ratio:.3f} (target {TARGET})", flush=True)


if __name__ == "__main__":
    main()
