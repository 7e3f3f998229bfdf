"""Leave in notebooks only what a page shows where nothing runs, as they are committed.

Of an output with a widget and a picture the picture stays. An output that is nothing but a widget,
such as a progress bar, is left out: it would say "widget not found", or 0 % for ever.
"""

import json
import sys
from pathlib import Path

WIDGET = "application/vnd.jupyter.widget-view+json"


def make_static(notebook):
    """Take the widgets out of a notebook, in place."""
    notebook["metadata"].pop("widgets", None)
    for cell in notebook["cells"]:
        if "outputs" not in cell:
            continue
        outputs = cell["outputs"]
        was_widget = [output.get("data", {}).pop(WIDGET, None) is not None for output in outputs]
        cell["outputs"] = [
            output
            for output, widget in zip(outputs, was_widget, strict=True)
            if not widget or set(output["data"]) - {"text/plain"}
        ]


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        make_static(notebook)
        text = json.dumps(notebook, indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
