"""Run notebooks with a profile: python .ci/figures.py PROFILE NOTEBOOK... They stay as they are.

Those that have run lie in results/PROFILE/notebooks. The command line of papermill cannot encrypt
what it says to a kernel, without which ipykernel warns.
"""

import os
import sys
from pathlib import Path

import papermill
from jupyter_client import KernelManager
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

# A parameter with no such value, or a notebook that has to run first: the message says everything.
IN_ONE_SENTENCE = ("ParameterError", "MissingRunError")


def main(profile, *notebooks):
    # Python's own modules have no source that a debugger could check, of which it would warn.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    # By default PyTorch's threads wait by spinning for long, which slows a training down more than
    # tenfold where other programs have the cores.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    config = Config()
    if hasattr(KernelManager, "transport_encryption"):
        config.KernelManager.transport_encryption = "auto"
    folder = Path("results") / profile / "notebooks"
    for name in notebooks:
        print(name, flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        papermill.execute_notebook(
            name,
            folder / name,
            parameters={"PROFILE": profile},
            kernel_name="python3",
            cwd=".",
            config=config,
        )


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except PapermillExecutionError as error:
        if error.ename not in IN_ONE_SENTENCE:
            raise
        sys.exit(error.evalue)
