"""The table of `tiebreak bench`."""

from tiebreak.bench.loops import BATCH_SIZE
from tiebreak.bench.measure import Bench
from tiebreak.report.text.tables import Table


def bench_table(bench: Bench) -> Table:
    """The table of `tiebreak bench`."""
    columns = ("model", "variant", "images/s", "times", "spread", "of peak")
    rows = tuple(
        (
            row.model,
            row.variant,
            f"{row.images_per_second:,.0f}",
            f"{row.ratio:.2f}",
            f"{row.ratio_low:.2f}-{row.ratio_high:.2f}",
            f"{row.peak_share:.0%}",
        )
        for row in bench.rows
    )
    return Table(columns=columns, rows=rows, text_columns=("variant",))


def bench_notes(bench: Bench) -> tuple[str, ...]:
    """What must be known to read the table, a line each."""
    peaks = ", ".join(f"{name} {gflops:,.0f}" for name, gflops in bench.peak_gflops.items())
    load = "" if bench.load is None else f", load {bench.load:.1f} at the start"
    notes = [
        f"{bench.processor}, {bench.cores} cores{load}; torch {bench.torch}, {bench.threads} "
        f"thread{'s' if bench.threads != 1 else ''}; {bench.images}; batch size {BATCH_SIZE}.",
        f"times: to the case study's loop in the same round; median, lowest and highest of {bench.rounds}.",
        "side by side: as a study's runs go, one thread each; all of them together.",
        f"of peak: of the machine's matrix peak in the same number format; best seen: {peaks} GFLOP/s.",
        f"--precision auto chooses {bench.auto} here; kernels: {kernels_text(bench)}.",
    ]
    if any(name.startswith("convolution") for name in bench.active_kernels):
        notes.append(
            "A plain convolution's products are counted; tiebreak's own needs fewer than half (Winograd)."
        )
    if "bf16" not in bench.peak_gflops:
        notes.append("bf16 is left out: this processor computes it slower than fp32.")
    return tuple(notes)


def kernels_text(bench: Bench) -> str:
    """Which compiled kernels compute, by name."""
    if bench.kernel_variant is None:
        return "none, PyTorch computes"
    return f"{bench.kernel_variant} ({', '.join(bench.active_kernels) or 'none that is right here'})"
