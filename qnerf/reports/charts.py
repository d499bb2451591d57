"""Line charts as inline SVG: no script, no file beside the page, legible in print."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 560, 240, 46, 34, 12, 150
COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7b4fa0", "#b8860b", "#008b8b", "#a83279", "#555555", "#e07b39")


def line_chart(series: Mapping[str, Sequence[float | None]], x: Sequence[float], x_label: str, y_label: str) -> Markup:
    """An SVG of several named series over common x values; None leaves a gap. The legend stands right of the plot."""
    values = [v for line in series.values() for v in line if v is not None]
    if not values or not x:
        return Markup("<p>Nothing to draw.</p>")
    low, high = min(0.0, *values), max(*values, 0.0) if len(values) > 1 else max(values[0], 0.0)
    high = high if high > low else low + 1.0
    place = _placer(min(x), max(x), low, high)
    parts = [_axes(place, x, low, high, x_label, y_label)]
    for i, (name, line) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        points = [place(a, b) for a, b in zip(x, line, strict=True) if b is not None]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="2.5" fill="{colour}"/>' for px, py in points]
        y = TOP + 14 * i + 10
        parts.append(_text(WIDTH - RIGHT + 12, y, name, colour, "start"))
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    return Markup(f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">{"".join(parts)}</svg>')


def _placer(x_low: float, x_high: float, low: float, high: float):
    """The map from data to pixels of the plot's area."""
    x_span = x_high - x_low or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - x_low) / x_span * (WIDTH - LEFT - RIGHT)
        return across, TOP + (high - y) / (high - low) * (HEIGHT - TOP - BOTTOM)

    return place


def _axes(place, x: Sequence[float], low: float, high: float, x_label: str, y_label: str) -> str:
    parts = []
    for i in range(5):
        value = low + (high - low) * i / 4
        _, y = place(x[0], value)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" stroke-opacity=".2"/>'
        )
        parts.append(_text(LEFT - 6, y + 4, f"{value:.2g}", "currentColor", "end"))
    for value in sorted(set(x)):
        across, _ = place(value, low)
        parts.append(_text(across, HEIGHT - BOTTOM + 14, f"{value:g}", "currentColor", "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, x_label, "currentColor", "middle"))
    parts.append(f"<title>{escape(y_label)}</title>")
    return "".join(parts)


def _text(x: float, y: float, text: str, colour: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" font-size="11">{escape(text)}</text>'
