"""Bad rows of label files, all of them in one error."""

from __future__ import annotations

from collections.abc import Sequence

from fgnet_plugin.utils.text import counted

SHOWN = 50


def bad_rows(rows: Sequence[str], files: Sequence[str] = ()) -> ValueError:
    """The error to raise.

    Args:
        rows: ``"file:line: problem"`` each; the first 50 are shown.
        files: what concerns a whole file; all are shown.
    """
    lines = list(files)
    if rows:
        more = [f"… and {len(rows) - SHOWN:,} more"] if len(rows) > SHOWN else []
        lines += [f"{counted(len(rows), 'bad row', form=',')}:", *rows[:SHOWN], *more]
    return ValueError("\n".join(lines))
