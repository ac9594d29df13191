"""A batch as a table: CSV for people and spreadsheets, SQLite for programs, both for pandas.

pandas.read_csv("out/table.csv")
pandas.read_sql("select * from pictures", sqlite3.connect("out/table.sqlite"))
"""

import csv
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from stylelab.files.local import atomic

Row = Mapping[str, object]
KINDS = {int: "INTEGER", float: "REAL"}


def plain(value: object) -> object:
    """A value as a cell holds it: layers as on the command line, `conv4_2=1,conv3_2=0.5`."""
    if isinstance(value, Mapping):
        return ",".join(f"{name}={weight:g}" for name, weight in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return value


def columns(rows: Sequence[Row]) -> list[str]:
    """The columns of all rows, in the order in which they first come."""
    return list(dict.fromkeys(name for row in rows for name in row))


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write the rows, whole or not at all; StylelabError if they cannot be written."""
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns(rows), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: plain(value) for name, value in row.items()} for row in rows)


def write_sqlite(rows: Sequence[Row], path: Path) -> None:
    """Write the rows as the table `pictures`; StylelabError if they cannot be written."""
    names = columns(rows)
    kinds: dict[str, str] = {}
    for row in rows:
        for name, value in row.items():
            kind = KINDS.get(type(value), "" if value is None else "TEXT")
            kinds[name] = kind if kinds.get(name, "") in ("", kind) else _both(kinds[name], kind)
    declared = ", ".join(f'"{name}" {kinds[name]}' for name in names)
    marks = ", ".join("?" * len(names))
    with atomic(path) as temporary:
        try:
            with closing(sqlite3.connect(temporary)) as base, base:
                base.execute(f"CREATE TABLE pictures ({declared})")
                values = ([plain(row.get(name)) for name in names] for row in rows)
                base.executemany(f"INSERT INTO pictures VALUES ({marks})", values)  # noqa: S608
        except sqlite3.OperationalError as error:
            raise OSError(str(error)) from error


def _both(one: str, other: str) -> str:
    """The kind of a column that has values of two kinds."""
    if not other:
        return one
    return "REAL" if {one, other} == {"REAL", "INTEGER"} else "TEXT"
