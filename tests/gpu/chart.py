# SPDX-License-Identifier: Apache-2.0
"""Rows of tests/gpu/bench as a chart, an SVG of bars: a panel for products, one
for what memory bounds, one for networks."""
from xml.sax.saxutils import escape

OWN = "#2a6fb0"
PEERS = {"eager": "#b9bec4", "cublaslt": "#8fa58a", "compiled": "#8d939a",
         "autotuned": "#62686f"}
LEFT, WIDTH, RIGHT = 190, 420, 170
BAR, GAP, HEAD = 11, 8, 34
STYLE = ("text { font: 12px sans-serif; fill: #222 } "
         ".head { font-weight: bold } .axis { stroke: #888 }")


TITLES = {"TFLOP/s": "products", "TB/s": "bound by memory",
          "calls/s": "networks"}


def panels(rows):
    """(title, unit, [(name, amount, {peer: amount})]), more is better."""
    for unit, title in TITLES.items():
        found = []
        for r in rows:
            if r["unit"] == unit:
                amount = r["work"] * 1e-12 if r["work"] else 1
                found.append((r["name"], amount / r["seconds"],
                              {k: amount / r["peers"][k] for k in PEERS
                               if k in r["peers"]}))
        if found:
            yield title, unit, found


def number(x):
    return f"{x:.3g}" if x < 1000 else f"{x:.0f}"


class Page:
    def __init__(self):
        self.y, self.parts = 0, []

    def text(self, x, y, words, more=""):
        self.parts.append(f'<text x="{x}" y="{y}"{more}>{escape(words)}'
                          '</text>')

    def bar(self, value, most, color, words):
        width = WIDTH * value / most
        self.parts.append(f'<rect x="{LEFT}" y="{self.y}" '
                          f'width="{width:.2f}" height="{BAR}" '
                          f'fill="{color}"/>')
        self.text(round(LEFT + width + 5, 2), self.y + BAR - 1, words)
        self.y += BAR

    def panel(self, title, unit, rows):
        most = max(max(own, *peers.values(), 0) for _, own, peers in rows)
        self.text(LEFT, self.y + 20, f"{title}, {unit}", ' class="head"')
        self.y += HEAD
        top = self.y - 4
        for name, own, peers in rows:
            self.text(LEFT - 8, self.y + BAR - 1, name,
                      ' text-anchor="end"')
            self.bar(own, most, OWN, number(own))
            for peer, amount in peers.items():
                self.bar(amount, most, PEERS[peer],
                         f"{number(amount)} {peer}")
            self.y += GAP
        self.parts.append(f'<line x1="{LEFT}" y1="{top}" x2="{LEFT}" '
                          f'y2="{self.y}" class="axis"/>')


def chart(title, rows):
    """The text of the SVG."""
    page = Page()
    page.y = 28
    page.text(LEFT, 20, title)
    for panel in panels(rows):
        page.panel(*panel)
    size = LEFT + WIDTH + RIGHT, page.y + 10
    return "\n".join([
        '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" '
        'viewBox="0 0 %d %d">' % (*size, *size),
        f"<style>{STYLE}</style>",
        '<rect width="100%" height="100%" fill="white"/>',
        *page.parts, "</svg>", ""])
