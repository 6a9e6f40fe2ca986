"""Horizontal bars as an SVG file: the median as a bar, every single value as a dot."""

from __future__ import annotations

import statistics
import textwrap
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

STYLE = Path(__file__).with_name("style.mplstyle")


@dataclass
class Bars:
    """One panel."""

    title: str
    unit: str
    labels: list[str]
    values: list[list[float]]
    log: bool = False


def draw(panels: list[Bars], path: Path, note: str) -> None:
    """Draws the panels one below the other."""
    mpl: Any = import_module("matplotlib")  # half typed
    mpl.use("Agg")
    plt: Any = import_module("matplotlib.pyplot")
    with plt.style.context(str(STYLE)):
        figure, axes = plt.subplots(len(panels), 1, squeeze=False, figsize=(8, 1.9 * len(panels) + 0.6))
        for axis, panel in zip(axes[:, 0], panels, strict=True):
            medians = [statistics.median(values) if values else 0.0 for values in panel.values]
            places = range(len(panel.labels))
            colors = ["C0" if place == 0 else "C1" for place in places]
            axis.barh(places, medians, color=colors, height=0.6)
            for place, (values, median) in enumerate(zip(panel.values, medians, strict=True)):
                axis.plot(values, [place] * len(values), "|", color="C2", markersize=7)
                label = f"{median:,.0f}" if median >= 1000 else f"{median:.3g}"
                right = max([*values, median])
                axis.annotate(label, (right, place), textcoords="offset points", xytext=(6, 0), va="center")
            axis.set_yticks(list(places), panel.labels)
            axis.invert_yaxis()
            axis.set_title(f"{panel.title} ({panel.unit})")
            if panel.log:
                axis.set_xscale("log")
                axis.set_xlim(left=0.1)
            axis.margins(x=0.12)
        figure.text(0.01, 0.005, "\n".join(textwrap.wrap(note, 118)), va="bottom", fontsize=8)
        figure.tight_layout(rect=(0, 0.05, 1, 1))
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
