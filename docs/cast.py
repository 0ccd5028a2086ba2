"""Makes docs/stream.svg from a real run: `python3 docs/cast.py [gust [prompt [seed]]]`.

Each token appears at the pace of the run, slowed down by a factor that is written below the text: at full speed there
would be nothing to see. Browsers that are asked for less motion show the whole text at once.
"""

import json
import subprocess
import sys
from html import escape
from pathlib import Path

COLUMNS, LINE, CHAR, MARGIN = 84, 20, 8.43, 16
SECONDS = 10

HEAD = """<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img">
<title>{title}</title>
<style>
text {{ font: 14px ui-monospace, Menlo, Consolas, monospace; fill: #d8dee9; white-space: pre }}
.dim {{ fill: #7b88a1 }}
@media (prefers-reduced-motion: no-preference) {{
tspan, .late {{ fill-opacity: 0; animation: show 0.1s forwards }}
@keyframes show {{ to {{ fill-opacity: 1 }} }}
}}
</style>
<rect width="{w}" height="{h}" rx="8" fill="#242933"/>
"""


def main() -> None:
    program, prompt, seed = (sys.argv[1:] + ["target/release/gust", "Once upon a time", "3"][len(sys.argv) - 1 :])[:3]
    run = subprocess.run([program, "run", "--json", "--seed", seed, prompt], capture_output=True, text=True, check=True)
    tokens = [json.loads(line) for line in run.stdout.splitlines()]
    texts = [token["text"] for token in tokens if "id" in token]
    timings = tokens[-1]["timings"]
    step = SECONDS / len(texts)

    # Lines of (delay, piece): words do not break, and a token that begins with a space may begin a line.
    lines, column = [[(0, f'$ gust run --seed {seed} "{prompt}"')], [(0.5, prompt)]], len(prompt)
    for number, text in enumerate(texts):
        rest = "".join(texts[number:]).lstrip(" ")
        word = len(rest.split(maxsplit=1)[0]) if rest.strip() else 0
        for at, piece in enumerate(text.split("\n")):
            if at or (text.startswith(" ") and column + 1 + word > COLUMNS):
                lines, column, piece = lines + [[]], 0, piece.lstrip(" ")
            lines[-1].append((1 + number * step, piece))
            column += len(piece)

    height, width = MARGIN * 2 + LINE * (len(lines) + 2), round(MARGIN * 2 + COLUMNS * CHAR)
    out = HEAD.format(w=width, h=height, title=escape(f"A story streams out of gust: {prompt} ..."))
    y = MARGIN + LINE
    for line in lines:
        pieces = "".join(f'<tspan style="animation-delay:{delay:.2f}s">{escape(piece)}</tspan>' for delay, piece in line if piece)
        out += f'<text x="{MARGIN}" y="{y}" xml:space="preserve">{pieces}</text>\n' if pieces else ""
        y += LINE
    rate, factor = timings["decode_tokens_per_second"], SECONDS * 1000 / timings["decode_ms"]
    note = f"{len(texts)} tokens, {rate:,.0f} tokens/s on one core; shown {factor:.0f} times slower"
    out += f'<text class="dim late" style="animation-delay:{1 + SECONDS}s" x="{MARGIN}" y="{y}">{note}</text>\n</svg>\n'
    Path(__file__).with_name("stream.svg").write_text(out)


main()
