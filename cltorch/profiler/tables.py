"""Events as a table: PyTorch's columns, and beside them what a kernel reached of what its device can do."""

from __future__ import annotations

from typing import Any

_UNITS = {"s": 1e6, "ms": 1e3, "us": 1.0}


def attribute_of(sort_by: str) -> str:
    """The attribute that a word of PyTorch's means: 'cuda_time_total' is 'device_time_total'."""
    for word in ("cuda", "xpu", "privateuse1", "privateuseone"):
        sort_by = sort_by.replace(word, "device")
    return sort_by


def time_text(microseconds: float, unit: str | None = None) -> str:
    """In the unit that fits, or in the one given.

    >>> time_text(12.5), time_text(3200.0), time_text(3200.0, "s")
    ('12.500us', '3.200ms', '0.003s')
    """
    if unit is None:
        unit = "s" if microseconds >= 1e6 else "ms" if microseconds >= 1e3 else "us"
    if unit not in _UNITS:
        raise ValueError(f"table: time_unit: got {unit!r}, wanted 's', 'ms' or 'us'")
    return f"{microseconds / _UNITS[unit]:.3f}{unit}"


def _cut(text: str, width: int) -> str:
    return text if width < 4 or len(text) <= width else f"{text[: width - 3]}..."


def _share(part: float, total: float) -> str:
    return f"{part / total:.2%}" if total else "0.00%"


def _work(events: Any, row: Any) -> list[str]:
    """GB/s, GFLOPS and share of the measured peak of a kernel; faster than memory means that data stayed in a cache."""
    if not row.device or not row.self_device_time_total:
        return ["", "", ""]
    bandwidth = row.nbytes / row.self_device_time_total / 1e3
    gflops = row.flops / row.self_device_time_total / 1e3
    peak = events.peaks(row.device)
    share = ""
    if peak is not None and (bandwidth or gflops):
        reached = max(bandwidth / peak.bandwidth, gflops / peak.gflops)
        share = f"{reached:.0%}" if reached <= 1 else "cache"
    return [f"{bandwidth:.1f}" if bandwidth else "", f"{gflops:.1f}" if gflops else "", share]


def render(
    events: Any, rows: list[Any], row_limit: int, widths: tuple[int, int, int], header: str | None, unit: str | None
) -> str:
    """The table of `rows`, with the sums of `events` below it. `widths` are of names, shapes and source lines."""
    name_width, shapes_width, source_width = widths
    cpu, device = events.self_cpu_time_total, events.self_device_time_total
    titles = [
        "Name", "Self CPU %", "Self CPU", "CPU total", "CPU time avg", "Self Device %", "Self Device", "Device total",
        "Device time avg", "# of Calls", "Idle before", "GB/s", "GFLOPS", "of peak",
    ]  # fmt: skip
    with_shapes = any(row.input_shapes for row in rows)
    with_stack = any(row.stack for row in rows)
    titles += ["Input Shapes"] * with_shapes + ["Source Location"] * with_stack
    shown = rows if row_limit < 0 else rows[:row_limit]
    cells = [titles]
    for row in shown:
        cells.append([
            _cut(row.key, name_width),
            _share(row.self_cpu_time_total, cpu),
            time_text(row.self_cpu_time_total, unit),
            time_text(row.cpu_time_total, unit),
            time_text(row.cpu_time, unit),
            _share(row.self_device_time_total, device),
            time_text(row.self_device_time_total, unit),
            time_text(row.device_time_total, unit),
            time_text(row.device_time, unit),
            str(row.count),
            time_text(row.idle_time_total, unit) if row.device else "",
            *_work(events, row),
            *([_cut(str(row.input_shapes), shapes_width)] if with_shapes else []),
            *([_cut(row.stack[0] if row.stack else "", source_width)] if with_stack else []),
        ])  # fmt: skip
    lengths = [max(len(line[i]) for line in cells) for i in range(len(titles))]
    rule = "  ".join("-" * length for length in lengths)
    lines = [header] if header else []
    for at, line in enumerate(cells):
        first, *others = (text.rjust(length) for text, length in zip(line, lengths))
        lines.append("  ".join([line[0].ljust(lengths[0]), *others]).rstrip())
        if at == 0:
            lines[-1:] = [rule, lines[-1], rule]
    lines.append(rule)
    if len(shown) < len(rows):
        lines.append(f"... and {len(rows) - len(shown)} more")
    lines.append(f"Self CPU time total: {time_text(cpu, unit)}")
    lines.append(f"Self Device time total: {time_text(device, unit)}")
    for name in dict.fromkeys(row.device for row in events if row.device):
        peak = events.peaks(name)
        idle = sum(row.idle_time_total for row in events if row.device == name)
        text = f"{name}: idle between kernels {time_text(idle, unit)}"
        if peak is not None:
            text += f"; measured peak {peak.bandwidth:.1f} GB/s, {peak.gflops:.0f} GFLOPS"
        lines.append(text)
    return "\n".join(lines)
