"""Writes SVG: a few kinds of marks, with presentation attributes only.

There is no style and no script, so that a page with a strict Content-Security-Policy can show it. The page's style sheet
can change the ink (`currentColor`), the font and the paper (`.paper`).
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

#: The default colours and fonts.
INK, PAPER = "#1f2328", "#ffffff"
FONTS = "DejaVu Sans, Verdana, system-ui, sans-serif"
#: The width of a letter of DejaVu Sans as a share of the font's size: somewhat above the average.
LETTER = 0.62
#: Letters of a name that are shown.
LONGEST = 32

type Point = tuple[float, float]


class Drawing:
    """One picture with a title. Later marks cover earlier ones."""

    def __init__(self, width: float, height: float, description: str, title: str) -> None:
        """Take the size in pixels. The description is for screen readers."""
        self.width, self.height = width, height
        self._label = f"{description}, {title}"
        self._marks: list[str] = []
        self.text((16, 24), title, size=12, opacity=0.75)

    def line(
        self, start: Point, end: Point, *, opacity: float = 1.0, dash: str = "", width: float = 1
    ) -> None:
        """Draw a line in the ink's colour."""
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self._marks.append(
            f'<path d="M{_point(start)}L{_point(end)}" stroke="currentColor" stroke-width="{_short(width)}"'
            f' stroke-opacity="{_short(opacity)}"{dashes} fill="none"/>'
        )

    def area(self, points: Iterable[Point], fill: str, *, opacity: float = 1.0, tip: str = "") -> None:
        """Fill a polygon. `tip` is its tooltip."""
        d = "M" + "L".join(map(_point, points)) + "z"
        self._marks.append(f'<path d="{d}" fill="{fill}"{_fill_opacity(opacity)}>{_tip(tip)}</path>')

    def box(self, start: Point, end: Point, fill: str, *, opacity: float = 1.0, tip: str = "") -> None:
        """Fill the rectangle between two opposite corners."""
        (left, top), (right, bottom) = start, end
        self.area([start, (right, top), end, (left, bottom)], fill, opacity=opacity, tip=tip)

    def text(  # noqa: PLR0913  # the properties of text
        self,
        place: Point,
        text: str,
        *,
        anchor: str = "start",
        size: float = 13,
        fill: str = "currentColor",
        opacity: float = 1.0,
        turned: bool = False,
        before: str = "",
        longest: int | None = None,
    ) -> None:
        """Write text with its baseline's start, middle or end at `place`; `turned` reads upwards.

        `before` precedes it in a paler colour. Text of more than `longest` letters is cut, and whole in its tooltip.
        """
        x, y = place
        short = text if longest is None else shortened(text, longest)
        tip = _tip(text if short != text else "")
        turn = f' transform="rotate(-90 {_short(x)} {_short(y)})"' if turned else ""
        paler = f'<tspan fill-opacity="0.65">{_escaped(before)}</tspan>' if before else ""
        self._marks.append(
            f'<text x="{_short(x)}" y="{_short(y)}" text-anchor="{anchor}" font-size="{_short(size)}" '
            f'fill="{fill}"{_fill_opacity(opacity)}{turn}>{tip}{paler}{_escaped(short)}</text>'
        )

    def dots(self, places: Iterable[Point], fill: str, radius: float) -> None:
        """Draw dots as one mark: a line of length 0 with round ends takes the fewest letters."""
        d = "".join(f"M{_point(place)}h0" for place in places)
        self._marks.append(
            f'<path d="{d}" stroke="{fill}" stroke-width="{_short(2 * radius)}" stroke-linecap="round" fill="none"/>'
        )

    def svg(self) -> bytes:
        """Return the document."""
        size = f'width="{_short(self.width)}" height="{_short(self.height)}"'
        box = f'viewBox="0 0 {_short(self.width)} {_short(self.height)}"'
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="shapbox-plot" role="img" '
            f"aria-label={quoteattr(_printable(self._label))} {size} {box} "
            f'font-family="{FONTS}" color="{INK}"><rect class="paper" {size} fill="{PAPER}"/>'
        )
        return f"{head}{''.join(self._marks)}</svg>".encode()


def text_width(text: str, size: float = 13) -> float:
    """Return the approximate width of a text in pixels."""
    return len(text) * LETTER * size


def shortened(text: str, longest: int = LONGEST) -> str:
    """Return a text of at most `longest` letters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _short(number: float) -> str:
    if abs(number) >= 10:
        return f"{number:.1f}".removesuffix(".0")
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _point(point: Point) -> str:
    return f"{_short(point[0])} {_short(point[1])}"


def _fill_opacity(opacity: float) -> str:
    return f' fill-opacity="{_short(opacity)}"' if opacity < 1 else ""


def _tip(text: str) -> str:
    return f"<title>{_escaped(text)}</title>" if text else ""


def _escaped(text: str) -> str:
    return escape(_printable(text))


def _printable(text: str) -> str:
    """Replace the letters that XML cannot hold."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
