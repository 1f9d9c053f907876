"""A dashboard of monitoring/grafana as one HTML page, without Grafana: asks a Prometheus what each panel asks, and draws the
answers where the dashboard places them.

    python examples/python/dashboard_preview.py monitoring/grafana/job.json --prometheus http://127.0.0.1:9090 \\
        --out job.html [--set run=beauty] [--last 600] [--end 1800000000]

Prints for each panel how many series answered; ends with status 1 when Prometheus does not understand a query. Variables of the
dashboard take the first value that Prometheus knows unless --set gives one. Standard library only.
"""
import argparse
import html
import json
import math
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

WIDTH, COLUMNS, ROW, GAP, HEAD = 1400, 24, 36, 8, 44
COLOURS = ("#3274d9", "#e0752d", "#299c46", "#a352cc", "#e02f44", "#b8a200", "#00a3a3", "#8f3bb8")
MARGIN = (58, 30, 12, 44)  # of a chart: left, top, right, bottom, pixels


class Prometheus:
    def __init__(self, url, start, end):
        self.url, self.start, self.end = url.rstrip("/"), start, end

    def ask(self, path, **parameters):
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error).get("error", str(error))) from error

    def values(self, series, label):
        return self.ask(f"label/{label}/values", start=self.start, end=self.end, **{"match[]": series})

    def over_time(self, expression, points=200):
        step = max(0.25, (self.end - self.start) / points)
        found = self.ask("query_range", query=expression, start=self.start, end=self.end, step=step)["result"]
        return [(one["metric"], [(float(at), float(value)) for at, value in one["values"]]) for one in found]

    def last(self, expression):
        found = self.ask("query", query=expression, time=self.end)["result"]
        return [(one["metric"], [(float(one["value"][0]), float(one["value"][1]))]) for one in found]


def fill(text, variables):
    """`$run` and `${run}`; what is not known stays."""
    return re.sub(r"\$(?:{(\w+)}|(\w+))", lambda at: str(variables.get(at[1] or at[2], at[0])), text)


def resolve(dashboard, prometheus, given):
    """Variable -> value, in the dashboard's order, since one may ask for another."""
    out = {"__range": f"{math.ceil(prometheus.end - prometheus.start)}s"}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            continue
        series, label = re.fullmatch(r"label_values\((.+),\s*(\w+)\)", fill(variable["query"], out)).groups()
        out[variable["name"]] = given.get(variable["name"]) or next(iter(prometheus.values(series, label)), "")
    return out


def legend(template, labels, variables):
    named = re.sub(r"{{\s*(\w+)\s*}}", lambda at: labels.get(at[1], ""), template)
    return fill(named, variables).strip() or ", ".join(f"{key}={value}" for key, value in sorted(labels.items())) or "value"


def answers(panel, prometheus, variables):
    """[(name, [(time, value)])] of a panel, not-a-numbers left out."""
    ask = prometheus.last if panel["type"] == "stat" else prometheus.over_time
    out = []
    for target in panel["targets"]:
        for labels, points in ask(fill(target["expr"], variables)):
            points = [(at, value) for at, value in points if math.isfinite(value)]
            if points:
                out.append((legend(target.get("legendFormat", ""), labels, variables), points))
    return out


def number(value, unit):
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {suffix}" + {"Bps": "B/s"}.get(unit, "")
    return f"{value:.3g}" + {"s": " s", "Bps": " B/s"}.get(unit, "")


def ticks(low, high, count=4):
    """Round numbers from `low` to `high`."""
    raw = (high - low) / count
    size = 10 ** math.floor(math.log10(raw))
    size *= next(factor for factor in (1, 2, 5, 10) if factor * size >= raw)
    return [index * size for index in range(math.ceil(low / size), math.floor(high / size) + 1)]


def bounds(series):
    values = [value for _, points in series for _, value in points]
    low, high = min(values), max(values)
    if low >= 0 and low < 0.5 * high or low == high == 0:
        low = 0
    if low == high:
        low, high = low - abs(low or 1) / 2, high + abs(high or 1) / 2
    return low, high + 0.05 * (high - low)


def pieces(points, gap):
    """A line ends where nothing was known for a while."""
    out = [[]]
    for point in points:
        if out[-1] and point[0] - out[-1][-1][0] > gap:
            out.append([])
        out[-1].append(point)
    return out


def chart(series, unit, prometheus, width, height):
    left, top, right, bottom = MARGIN
    low, high = bounds(series)
    span = prometheus.end - prometheus.start
    x = lambda at: left + (width - left - right) * (at - prometheus.start) / span
    y = lambda value: top + (height - top - bottom) * (high - value) / (high - low)
    out = []
    for value in ticks(low, high):
        out.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
                   f'<text x="{left - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{number(value, unit)}</text>')
    for seconds in ticks(0, span, 5):
        at = prometheus.start + seconds
        out.append(f'<text x="{x(at):.1f}" y="{height - bottom + 16}" text-anchor="middle">{seconds:g} s</text>')
    place = left
    for index, (name, points) in enumerate(series):
        colour = COLOURS[index % len(COLOURS)]
        for piece in pieces(points, span / 40):
            where = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in piece)
            out.append(f'<polyline stroke="{colour}" points="{where}"/>' if len(piece) > 1 else
                       f'<circle fill="{colour}" r="2" cx="{x(piece[0][0]):.1f}" cy="{y(piece[0][1]):.1f}"/>')
        if place + 7 * len(name) < width:
            out.append(f'<rect fill="{colour}" x="{place}" y="{height - 17}" width="12" height="4"/>'
                       f'<text x="{place + 16}" y="{height - 11}">{html.escape(name)}</text>')
        place += 28 + 7 * len(name)
    return "".join(out)


def figures(series, unit, width, height):
    out = []
    for index, (name, points) in enumerate(series):
        middle = width * (index + 0.5) / len(series)
        out.append(f'<text class="figure" x="{middle:.0f}" y="{height / 2 + 16:.0f}" text-anchor="middle" fill="{COLOURS[index]}">'
                   f'{number(points[-1][1], unit)}</text>'
                   f'<text x="{middle:.0f}" y="{height / 2 + 44:.0f}" text-anchor="middle">{html.escape(name)}</text>')
    return "".join(out)


def draw(panel, series, prometheus):
    place, unit = panel["gridPos"], panel["fieldConfig"]["defaults"].get("unit", "short")
    cell = WIDTH / COLUMNS
    width, height = place["w"] * cell - GAP, place["h"] * ROW - GAP
    inside = (f'<text x="{width / 2:.0f}" y="{height / 2:.0f}" text-anchor="middle">No data</text>' if not series else
              figures(series, unit, width, height) if panel["type"] == "stat" else chart(series, unit, prometheus, width, height))
    return (f'<svg style="left:{place["x"] * cell:.0f}px;top:{HEAD + place["y"] * ROW}px" width="{width:.0f}" height="{height:.0f}">'
            f'<text class="title" x="10" y="20">{html.escape(panel["title"])}</text>{inside}</svg>')


STYLE = """body{margin:8px;background:#f4f5f5;font:12px sans-serif;position:relative}h1{font-size:18px;margin:8px 2px;font-weight:500}
svg{position:absolute;background:#fff;border:1px solid #dcdee0;border-radius:2px}text{fill:#464c54}.title{font-size:13px;font-weight:600}
.figure{font-size:30px;font-weight:600}.grid{stroke:#e7e8ea}polyline{fill:none;stroke-width:1.5}"""


def page(dashboard, drawn, variables):
    chosen = ", ".join(f"{key} {value}" for key, value in variables.items() if not key.startswith("__"))
    height = HEAD + ROW * max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    return (f'<!doctype html><meta charset="utf-8"><title>{html.escape(dashboard["title"])}</title><style>{STYLE}</style>'
            f'<body style="height:{height}px"><h1>{html.escape(dashboard["title"])} <small>{html.escape(chosen)}</small></h1>{"".join(drawn)}')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dashboard", type=Path)
    parser.add_argument("--prometheus", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="VARIABLE=VALUE")
    parser.add_argument("--last", type=float, default=600, help="seconds before the end")
    parser.add_argument("--end", type=float, default=None, help="Unix time; now")
    arguments = parser.parse_args()
    end = arguments.end or time.time()
    dashboard = json.loads(arguments.dashboard.read_text())
    prometheus = Prometheus(arguments.prometheus, end - arguments.last, end)
    variables = resolve(dashboard, prometheus, dict(one.split("=", 1) for one in arguments.set))
    drawn, wrong = [], False
    for panel in dashboard["panels"]:
        try:
            series = answers(panel, prometheus, variables)
        except ValueError as error:
            print(f"{panel['title']}: {error}", file=sys.stderr)
            series, wrong = [], True
        print(f"{panel['title']}: {len(series)} series")
        drawn.append(draw(panel, series, prometheus))
    arguments.out.write_text(page(dashboard, drawn, variables))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
