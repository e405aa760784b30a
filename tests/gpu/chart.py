# SPDX-License-Identifier: Apache-2.0
"""Rows of tests/gpu/bench as a chart, an SVG of bars: a panel for products, one
for what memory bounds, one for networks."""
from xml.sax.saxutils import escape

OWN, OTHER = "#2a6fb0", "#b9bec4"
LEFT, WIDTH, RIGHT = 190, 420, 170
BAR, GAP, HEAD = 11, 8, 34
STYLE = ("text { font: 12px sans-serif; fill: #222 } "
         ".head { font-weight: bold } .axis { stroke: #888 }")


def panels(rows):
    """(title, unit, [(name, own, PyTorch's or None)]), more is better."""
    kinds = (("products", "TFLOP/s", 1e-12,
              lambda r: r["work"] and r["name"].startswith("product")),
             ("bound by memory", "TB/s", 1e-12,
              lambda r: r["work"] and not r["name"].startswith("product")),
             ("networks", "calls/s", 1, lambda r: not r["work"]))
    for title, unit, scale, mine in kinds:
        found = []
        for r in filter(mine, rows):
            amount = (r["work"] or 1) * scale
            found.append((r["name"], amount / r["seconds"],
                          amount / r["torch"] if r.get("torch") else None))
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
        most = max(max(own, other or 0) for _, own, other in rows)
        self.text(LEFT, self.y + 20, f"{title}, {unit}", ' class="head"')
        self.y += HEAD
        top = self.y - 4
        for name, own, other in rows:
            self.text(LEFT - 8, self.y + BAR - 1, name,
                      ' text-anchor="end"')
            self.bar(own, most, OWN, number(own))
            if other:
                self.bar(other, most, OTHER, f"{number(other)} PyTorch")
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
