"""The picture of a run in the README, from a real one: ``python -m tests.cli.picture docs/run.svg``."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.cli.terminal import on_terminal, screen

ROOT = Path(__file__).parents[2]
ARGV = ["run", "--sandbox", "--corpus", "benchmarks/data/threatq-sample.ndjson.gz"]
COLUMNS = 84
_FONT = 'ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace'
_FRAME = f"""<svg class="rich-terminal" viewBox="0 0 {{width}} {{height}}" xmlns="http://www.w3.org/2000/svg">
<style>
.{{unique_id}}-matrix {{{{ font-family: {_FONT}; font-size: {{char_height}}px; line-height: {{line_height}}px; }}}}
.{{unique_id}}-title {{{{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}}}
{{styles}}
</style>
<defs><clipPath id="{{unique_id}}-clip-terminal">
<rect x="0" y="0" width="{{terminal_width}}" height="{{terminal_height}}" /></clipPath>{{lines}}</defs>
{{chrome}}
<g transform="translate({{terminal_x}}, {{terminal_y}})" clip-path="url(#{{unique_id}}-clip-terminal)">
{{backgrounds}}
<g class="{{unique_id}}-matrix">{{matrix}}</g>
</g>
</svg>
"""
"""As rich draws it, without the fonts that it would load from elsewhere."""


def main(path: Path) -> None:
    """Run it on a terminal, and draw what a person sees: the progress when most is done, and what is left at last."""
    with on_terminal("-m", "tqmisp", *ARGV, cwd=ROOT) as terminal:
        terminal.resize(COLUMNS)
        code = terminal.end()
    shown = terminal.shown
    assert code == 0, shown
    frames = [match.start() for match in re.finditer("reading  ", shown)]
    late = frames[len(frames) * 4 // 5]
    during = screen(shown[late : shown.index("\x1b[2K", late)], COLUMNS)
    whole = screen(shown, COLUMNS)
    after = whole[next(number for number, line in enumerate(whole) if line.startswith("Run ")) :]
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text(f"$ tqmisp {' '.join(ARGV)}", "bold"))
    for line in filter(None, during):
        console.print(Text(line, "dim"))
    for line in filter(None, after):
        console.print(Text(line, "bold green" if line.startswith("Balanced") else ""))
    path.write_text(console.export_svg(title="tqmisp run", code_format=_FRAME))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
