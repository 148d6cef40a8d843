"""The steps as a picture: for each network the native way and ours, above a step without hypernetwork."""

from __future__ import annotations

from pathlib import Path

from benchmarks.table import Row, Table


def draw(steps: Table, file: Path) -> None:
    """Writes a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    groups: dict[str, list[Row]] = {}
    for row in steps.rows:
        groups.setdefault(f"{row['model']}, {row['size']} x {row['size']}", []).append(row)
    figure, axes = pyplot.subplots(1, len(groups), figsize=(6.5 * len(groups), 4.4), sharex=True, squeeze=False)
    for axis, (title, rows) in zip(axes[0], groups.items(), strict=True):
        names = [str(row["network"]) for row in reversed(rows)]
        for offset, way, colour in ((0.2, "native", "#b0b0b0"), (-0.2, "ours", "#2f6f9f")):
            over = [100 * (float(row[way]) - 1) for row in reversed(rows)]
            bars = axis.barh([place + offset for place in range(len(rows))], over, 0.38, label=way, color=colour)
            axis.bar_label(bars, fmt="%.1f", padding=3)
        axis.set_yticks(range(len(rows)), names)
        axis.set_title(title)
        axis.set_xlabel("% of a step without hypernetwork")
        axis.axvline(0, color="black", linewidth=0.8)
        axis.margins(x=0.15)
        axis.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="upper center", ncols=2, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.94))
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
