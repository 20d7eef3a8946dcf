"""The chart of CPU per request: a bar for each peer on each workload, the shorter the better."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmarks import workloads as table
from benchmarks.results import JUDGED, Result, ratios

COLOURS = ["#8c8c8c", "#e69f00", "#009e73", "#cc79a7"]  # Okabe and Ito's palette: told apart by colour-blind readers and in grey print
OURS = "#0072b2"
GAP = 0.5  # between workloads, in bars
BODIES = ["big", "upload"]  # tens to hundreds of µs: on an axis of their own


def draw(result: Result, stem: Path) -> None:
    """Write `stem`.svg and `stem`.png."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.size": 10, "font.family": "DejaVu Sans", "svg.hashsalt": "gw", "svg.fonttype": "path"})
    from matplotlib import pyplot

    names = [workload.name for workload in table.WORKLOADS if workload.name in result.workloads and not workload.spread]
    panels = [part for part in ([name for name in names if name not in BODIES], [name for name in names if name in BODIES]) if part]
    heights = [_starts(result, part)[-1] for part in panels]
    figure, axes = pyplot.subplots(len(panels), 1, figsize=(9, 1.6 + 0.2 * sum(heights)), height_ratios=heights, squeeze=False)
    for axis, part in zip(axes[:, 0], panels, strict=True):
        _panel(axis, result, part)
    facts = result.machine
    figure.text(0.02, 1 - 0.1 / figure.get_figheight(), "CPU µs per request of the proxy: shorter is better", fontweight="bold", fontsize=13, va="top")
    subtitle = f"one worker on one core · medians of {result.options['rounds']} rounds · {facts['nginx']} · gw {facts['gw']} · {facts['cpu']} · {result.date[:10]}"
    figure.text(0.02, 1 - 0.42 / figure.get_figheight(), subtitle, fontsize=8, color="#555555", va="top")
    axes[-1, 0].set_xlabel("CPU µs per request (user and kernel, all processes of the proxy)")
    axes[0, 0].legend(loc="lower right", frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.45 / figure.get_figheight()))
    figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(stem.with_suffix(".png"), dpi=160)
    pyplot.close(figure)


def _starts(result: Result, names: list[str]) -> list[float]:
    """Where the bars of each workload begin, counted in bars from the top; the last number is where all end."""
    found = [0.0]
    for name in names:
        found.append(found[-1] + len(result.workloads[name]) + GAP)
    return found


def _panel(axis, result: Result, names: list[str]) -> None:  # type: ignore[no-untyped-def]  # matplotlib is an extra: its types are not always there
    largest = max(median(series.cpu) for name in names for series in result.workloads[name].values())
    starts = _starts(result, names)
    for order, peer in enumerate(result.peers):
        present = [(start, result.workloads[name]) for start, name in zip(starts, names, strict=False) if peer in result.workloads[name]]
        values = [median(cells[peer].cpu) for _, cells in present]
        places = [start + list(cells).index(peer) for start, cells in present]
        axis.barh(places, values, 0.92, label=peer, color=OURS if peer == JUDGED else COLOURS[order % len(COLOURS)])
        for (_, cells), place, value in zip(present, places, values, strict=True):
            text = f"{value:.0f}" if value >= 100 else f"{value:.1f}"
            if order and result.peers[0] in cells:
                text += f"   {ratios(cells[peer].cpu, cells[result.peers[0]].cpu)[0]:.2f} of {result.peers[0]}"
            axis.text(value + largest * 0.008, place, text, va="center", fontsize=8.5)
    middles = [start + (len(result.workloads[name]) - 1) / 2 for start, name in zip(starts, names, strict=False)]
    axis.set_yticks(middles, [table.BY_NAME[name].title for name in names])
    axis.set_ylim(starts[-1] - GAP, -1)
    axis.set_xlim(0, largest * 1.28)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color="#e5e5e5", linewidth=0.8)
    axis.set_axisbelow(True)
