"""The rows of a run that was interrupted, for the next one to go on from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from nnzoo_fast.benchmark.ops import Row
from nnzoo_fast.benchmark.timing import Ratio, Timing


class Kept:
    """What has been measured so far, by label, and the file that holds it: a line for each label.

    Args:
        path: None keeps nothing.
        identity: what must be the same for rows to be used again: machine, versions, commit and settings.
    """

    def __init__(self, path: Path | None, identity: dict):
        self.path, self.rows = path, {}
        self._first_line = json.dumps(identity, sort_keys=True)
        if path is None or not path.is_file():
            return
        text = path.read_text()
        whole = text[: text.rfind("\n") + 1]  # a last line that was cut off goes
        first, *lines = whole.splitlines() or [""]
        if first == self._first_line:
            path.write_text(whole)
            for entry in map(json.loads, lines):
                self.rows[entry["label"]] = [_row(fields) for fields in entry["rows"]]

    def __call__(self, label: str, measure: Callable[[], list[Row]]) -> list[Row]:
        """The rows of `label`, measured unless they are there."""
        if label not in self.rows:
            found = measure()
            if self.path is not None:
                self._write(label, found)
            self.rows[label] = found
        return self.rows[label]

    def _write(self, label: str, rows: list[Row]) -> None:
        line = json.dumps({"label": label, "rows": [asdict(row) for row in rows]})
        if not self.rows:
            self.path.write_text(self._first_line + "\n")
        with self.path.open("a") as file:
            file.write(line + "\n")


def _row(fields: dict) -> Row:
    timings = {name: Timing(**timing) for name, timing in fields.pop("timings").items()}
    ratios = {name: Ratio(**ratio) for name, ratio in fields.pop("ratios").items()}
    ratio = fields.pop("ratio")
    return Row(**fields, timings=timings, ratios=ratios, ratio=ratio and Ratio(**ratio))
