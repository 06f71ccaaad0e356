"""Make the pictures of the documentation: `python docs/make_pictures.py`, with the extra [test].

`terminal.svg` is a terminal of 80 columns in which the demo runs: as it looks on the way, and at
its end.
"""

from __future__ import annotations

import os
import pty
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Iterator, Sequence
from fcntl import ioctl
from html import escape
from itertools import groupby
from pathlib import Path

import pyte

REPOSITORY = Path(__file__).parents[1]
IMAGES = Path(__file__).with_name("images")
COLUMNS, ROWS = 80, 30
#: Of a character, in pixels.
WIDTH, HEIGHT, BORDER = 8.4, 18, 14
INK, PAPER, FAINT = "#d4d4d4", "#1e1e1e", "#8a8a8a"
FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"


def record(
    command: Sequence[str],
    *,
    columns: int = COLUMNS,
    rows: int = ROWS,
    cwd: str | Path = ".",
    look: Callable[[list[str]], object] = lambda _: None,
) -> list[str]:
    """Run a command on a terminal, and return the lines that it shows at the end.

    Args:
        look: is shown the lines whenever something was written.
    """
    screen = pyte.Screen(columns, rows)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "TERM": "xterm", "PYTHONPATH": os.pathsep.join(paths)}
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdin=theirs, stdout=theirs, stderr=theirs
    ) as child:
        os.close(theirs)
        try:
            while piece := os.read(ours, 65_536):
                stream.feed(piece)
                look(list(screen.display))
        except OSError:  # the other side is closed
            pass
        child.wait(60)
    os.close(ours)
    return list(screen.display)


def main() -> None:
    """Record the demo and draw it."""
    IMAGES.mkdir(exist_ok=True)
    on_the_way: list[list[str]] = []

    def look(lines: list[str]) -> None:
        if any("%|" in line for line in lines) and any("projected" in line for line in lines):
            on_the_way.append(lines)

    with tempfile.TemporaryDirectory() as folder:
        command = shutil.which("openai-parallel-toolkit", path=os.path.dirname(sys.executable))
        how = [command] if command else [sys.executable, "-m", "openai_parallel_toolkit"]
        end = record([*how, "demo"], cwd=folder, look=look)
    half = on_the_way[len(on_the_way) // 2]
    lines = ["$ openai-parallel-toolkit demo", *_shown(half), "", "... and at the end:", ""]
    end = _shown(end)
    summary = end[next(row for row, line in enumerate(end) if line.startswith("Files:")) :]
    lines += [line for line in summary[: summary.index("")] if not line.startswith("Outputs:")]
    (IMAGES / "terminal.svg").write_text(_svg(lines), encoding="utf-8")


def _shown(lines: Sequence[str]) -> list[str]:
    text = [line.rstrip() for line in lines]
    while text and not text[-1]:
        text.pop()
    return text


def _svg(lines: Sequence[str]) -> str:
    width = COLUMNS * WIDTH + 2 * BORDER
    height = len(lines) * HEIGHT + 2 * BORDER
    body = "\n".join(_rows(lines))
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img">
<title>openai-parallel-toolkit at work in a terminal</title>
<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>
<g font-family="{FONT}" font-size="14" fill="{INK}">
{body}
</g>
</svg>
"""


def _rows(lines: Sequence[str]) -> Iterator[str]:
    for row, line in enumerate(lines):
        y = BORDER + row * HEIGHT + 14
        column = 0
        fill = f' fill="{FAINT}"' if line.startswith(("$", "...")) else ""
        for is_bar, group in groupby(line, lambda sign: "\u2580" <= sign <= "\u259f"):
            text = "".join(group)
            x = BORDER + column * WIDTH
            column += len(text)
            if is_bar:  # drawn, for fonts differ in how wide these are
                top = y - 13
                yield f'<rect x="{x:.1f}" y="{top}" width="{len(text) * WIDTH:.1f}" height="15"/>'
            elif text.strip():
                length = f'textLength="{len(text) * WIDTH:.1f}" lengthAdjust="spacingAndGlyphs"'
                yield f'<text x="{x:.1f}" y="{y}" {length}{fill}>{_kept(text)}</text>'


def _kept(text: str) -> str:
    return escape(text).replace(" ", "\u00a0")  # plain ones are not kept side by side


if __name__ == "__main__":
    main()
