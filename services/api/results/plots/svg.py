"""Writes SVG: a few kinds of marks, with presentation attributes only.

No style and no script, so that it may be put into a page with a strict Content-Security-Policy, where a style sheet can
still change its ink (`currentColor`), its font and its paper (`.paper`).
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

#: Ink and paper where nothing else is said, and what letters are drawn with.
INK, PAPER = "#1f2328", "#ffffff"
FONTS = "DejaVu Sans, Verdana, system-ui, sans-serif"
#: How wide a letter of DejaVu Sans is, on average and as a share of the font's size; a little more than less.
LETTER = 0.62
#: Letters of a name that are shown.
LONGEST = 32

type Point = tuple[float, float]


class Drawing:
    """One picture of so many pixels; later marks cover earlier ones."""

    def __init__(self, width: float, height: float, label: str) -> None:
        self.width, self.height = width, height
        self._label = label
        self._marks: list[str] = []

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
        """Fill a polygon; `tip` is shown where the pointer rests on it."""
        d = "M" + "L".join(_point(point) for point in points) + "z"
        see_through = f' fill-opacity="{_short(opacity)}"' if opacity < 1 else ""
        self._marks.append(f'<path d="{d}" fill="{fill}"{see_through}>{_tip(tip)}</path>')

    def text(  # noqa: PLR0913  # all that letters have
        self,
        place: Point,
        text: str,
        *,
        anchor: str = "start",
        size: float = 13,
        fill: str = "currentColor",
        opacity: float = 1.0,
        turned: bool = False,
        tip: str = "",
        before: str = "",
    ) -> None:
        """Write text whose baseline begins (or has its middle, or ends) at `place`; `turned` reads upwards.

        `before` comes before it, paler.
        """
        x, y = place
        turn = f' transform="rotate(-90 {_short(x)} {_short(y)})"' if turned else ""
        see_through = f' fill-opacity="{_short(opacity)}"' if opacity < 1 else ""
        paler = f'<tspan fill-opacity="0.65">{_escaped(before)}</tspan>' if before else ""
        self._marks.append(
            f'<text x="{_short(x)}" y="{_short(y)}" text-anchor="{anchor}" font-size="{_short(size)}" '
            f'fill="{fill}"{see_through}{turn}>{_tip(tip)}{paler}{_escaped(text)}</text>'
        )

    def name(
        self, place: Point, name: str, *, anchor: str = "end", turned: bool = False, before: str = ""
    ) -> None:
        """Write what a client has named: cut if it is long, and whole where the pointer rests on it."""
        short = shortened(name)
        self.text(
            place, short, anchor=anchor, turned=turned, tip=name if name != short else "", before=before
        )

    def dots(self, places: Iterable[Point], fill: str, radius: float) -> None:
        """Draw dots as one mark: a line of no length with round ends is a dot, in a dozen letters."""
        d = "".join(f"M{_point(place)}h0" for place in places)
        if d:
            self._marks.append(
                f'<path d="{d}" stroke="{fill}" stroke-width="{_short(2 * radius)}" stroke-linecap="round" '
                'fill="none"/>'
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
    """Return about how many pixels a text takes."""
    return len(text) * LETTER * size


def shortened(text: str, longest: int = LONGEST) -> str:
    """Return a text, cut where it would take the room of what it names."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _short(number: float) -> str:
    return (
        f"{number:.1f}".removesuffix(".0") if abs(number) >= 10 else f"{number:.2f}".rstrip("0").rstrip(".")
    )


def _point(point: Point) -> str:
    return f"{_short(point[0])} {_short(point[1])}"


def _tip(text: str) -> str:
    return f"<title>{_escaped(text)}</title>" if text else ""


def _escaped(text: str) -> str:
    """Return a text for between tags, without what XML cannot hold."""
    return escape(_printable(text))


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
