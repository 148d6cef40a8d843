"""How long the extension delays a WebUI's start: the time of the imports that the host hasn't made itself."""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.table import Options, Say, Table

_HOSTS_OWN = "import logging, sqlite3, json, numpy, safetensors.torch, torch"
_OURS = "import hypernet.webui.session, hypernet.webui.wiring, hypernet.webui.axes, hypernet.webui.api"
_TIMED = f"{_HOSTS_OWN}; import time; start = time.perf_counter(); {{}}; print(time.perf_counter() - start)"


def run(options: Options, say: Say) -> Table:
    """Milliseconds, in a process that has imported what every host imports."""
    table = Table("Start of a WebUI", {"ms": ".1f"})
    for name, code in {"imports of the extension": _OURS, "nothing": "pass"}.items():
        say(name)
        table.rows.append({"what": name, "ms": statistics.median(_milliseconds(code) for _ in range(options.rounds))})
    return table


def _milliseconds(code: str) -> float:
    done = subprocess.run([sys.executable, "-c", _TIMED.format(code)], capture_output=True, text=True, check=True)
    return 1000 * float(done.stdout)
