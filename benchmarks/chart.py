"""The chart of CPU per request: one pair of bars a workload, the lower the better."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmarks import workloads as table
from benchmarks.results import Result, ratios

COLOURS = ["#8c8c8c", "#0072b2", "#e69f00", "#009e73"]  # Okabe and Ito's palette: told apart by colour-blind readers and in grey print
BODIES = ["big", "upload"]  # tens to hundreds of µs: on an axis of their own


def draw(result: Result, stem: Path) -> None:
    """Write `stem`.svg and `stem`.png."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.size": 10, "font.family": "DejaVu Sans", "svg.hashsalt": "gw", "svg.fonttype": "path"})
    from matplotlib import pyplot

    names = [workload.name for workload in table.WORKLOADS if workload.name in result.workloads and not workload.spread]
    panels = [part for part in ([name for name in names if name not in BODIES], [name for name in names if name in BODIES]) if part]
    figure, axes = pyplot.subplots(len(panels), 1, figsize=(9, 1.6 + 0.5 * len(names)), height_ratios=[len(part) for part in panels], squeeze=False)
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


def _panel(axis, result: Result, names: list[str]) -> None:  # type: ignore[no-untyped-def]  # matplotlib is an extra: its types are not always there
    height = 0.8 / len(result.peers)
    largest = max(median(result.workloads[name][peer].cpu) for name in names for peer in result.peers)
    for order, peer in enumerate(result.peers):
        values = [median(result.workloads[name][peer].cpu) for name in names]
        places = [index + (order - (len(result.peers) - 1) / 2) * height for index in range(len(names))]
        axis.barh(places, values, height * 0.92, label=peer, color=COLOURS[order % len(COLOURS)])
        for name, place, value in zip(names, places, values, strict=True):
            text = f"{value:.0f}" if value >= 100 else f"{value:.1f}"
            if order:
                text += f"   {ratios(result.workloads[name][peer].cpu, result.workloads[name][result.peers[0]].cpu)[0]:.2f} of {result.peers[0]}"
            axis.text(value + largest * 0.008, place, text, va="center", fontsize=8.5)
    axis.set_yticks(range(len(names)), [table.BY_NAME[name].title for name in names])
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlim(0, largest * 1.28)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color="#e5e5e5", linewidth=0.8)
    axis.set_axisbelow(True)
